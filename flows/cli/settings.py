"""`reelmill settings`: every setting."""

from typing import Any

from rich.console import Console

from reelmill.flows.cli.options import Json
from reelmill.flows.cli.output import show


def settings(json: Json = False) -> None:
    """Print a settings file with every key, its meaning and its default."""
    from reelmill.flows.settings.document import described

    show({"settings": described()}, json, render)


def render(out: Console, figures: dict[str, Any]) -> None:
    """The same as a commented file; `figures` are the keys as rows."""
    from reelmill.flows.settings.document import document

    out.out(document(), end="")
