"""What `--help` shows beside the verbs: the rule for settings and root, the exit statuses, flags without a type."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

EXIT_STATUSES = {
    0: "done, whatever had failed before",
    1: "something failed that had not failed before, or is damaged",
    2: "the input breaks a rule",
    129: "stopped by SIGHUP, as when the terminal is closed",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}
"""The one list of them; `main` and the verbs end with these."""

EPILOG = f"""Settings and root: a verb takes SETTINGS, --root, or both. With neither it reads settings.yaml here.
The root is that of --root, else of REELMILL__ROOT in the environment, else of the settings, else the folder reelmill.

Exit status: {"; ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())}."""


class Command(TyperCommand):
    """A verb in whose help a flag shows no type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options, --help included."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """The same of `reelmill` itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, --help included."""
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params
