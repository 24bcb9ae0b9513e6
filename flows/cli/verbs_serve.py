"""Verbs that need a Prefect server: serve."""

from pathlib import Path

from reelmill.flows.cli import tell_serve
from reelmill.flows.cli.arguments import Json, Root, Set, SettingsFile
from reelmill.flows.cli.command import app, chosen_settings, show
from reelmill.storage.errors import InputError


@app.command()
def serve(settings_file: SettingsFile, root: Root = None, set: Set = None, json: Json = False) -> None:
    """Register nightly deployments on the server at PREFECT_API_URL; do their runs, unless a work pool does."""
    if settings_file is None:
        raise InputError("serve needs a settings file, which its runs will read; `reelmill settings` writes one")
    chosen = chosen_settings(settings_file, root, set)
    from reelmill.flows.jobs.steps import root_of
    from reelmill.flows.serve import deployments as serving

    overrides = [o for o in set or () if not o.startswith("root=")]
    if root is not None or len(overrides) != len(set or ()):
        overrides.append(f"root={root_of(chosen)}")
    deployments, figures = serving.register(chosen, Path(settings_file).resolve(), overrides)
    show(figures, json, tell_serve.serve)
    if chosen.serve.work_pool is None:
        serving.serve(deployments)
