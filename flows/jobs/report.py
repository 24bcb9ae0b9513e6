"""The HTML page over everything in a root."""

from collections.abc import Sequence
from dataclasses import dataclass

from reelmill.flows.settings.sections import Settings
from reelmill.storage import Root
from reelmill.storage.place import AnyPath, is_url, place


@dataclass(frozen=True)
class ReportResult:
    """Where the page is."""

    report: str
    report_written: bool
    """False: nothing has changed since it was written."""


def report_path(settings: Settings) -> AnyPath:
    """Where the settings want the page; a relative path starts at the root."""
    return place(settings.report) if is_url(settings.report) else Root(settings.root).file(settings.report)


def report(settings: Settings, runs: Sequence[AnyPath] | None = None) -> ReportResult:
    """Write the page over these runs (those of the root if none are given), unless the page is up to date."""
    from reelmill.models.report.state import is_current, state_of
    from reelmill.models.runs import list_runs

    root, path = Root(settings.root), report_path(settings)
    if runs is None:
        runs = sorted((run.folder for run in list_runs(root.address)), key=lambda folder: folder.name)
    title = f"reelmill · {root.name}"
    if is_current(path, state_of(root, title, runs)):
        return ReportResult(str(path), False)
    from reelmill.models.report.page import write_report

    return ReportResult(str(write_report(root.address, path, title=title, runs=runs)), True)
