"""Failures of a class, tried again: they are forgotten, and the stages that they belong to run for their videos."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.backfill import narrowed
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.errors import BY_CLASS
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Outcome, Outcomes
from reelmill.storage.errors import InputError, nearest

STAGES = ("download", "extract")
"""Stages whose failures can be tried again."""
CLASSES = (*BY_CLASS, "unknown")


def retry(
    settings: Settings, executor: Executor = IN_THIS_PROCESS, classes: Sequence[str] = (), stages: Sequence[str] = ()
) -> dict[str, Any]:
    """Try again what failed with these classes (in these stages): download and measure, or extract, of those videos
    alone. Raises InputError for a class or stage that there is not."""
    found = failures(settings, classes, stages)
    figures = described(settings, classes, found)
    if not found:
        return figures
    root = steps.root_of(settings)
    forget(root, found)
    videos = {stage: frozenset(row["key"] for row in found if row["stage"] == stage) for stage in STAGES}
    if videos["download"]:
        figures["ingest"] = executor.job(ingest, settings, videos["download"])
    if videos["extract"]:
        selection = Selection(videos=videos["extract"])
        figures["extract"] = executor.job(extract, narrowed(settings, (), selection), selection)
    asked = {_identity(row) for row in found}
    figures["again"] = _counts([row for row in steps.newest_failures(root) if _identity(row) in asked])
    return figures


def failures(settings: Settings, classes: Sequence[str], stages: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The newest failures of these classes. Raises InputError for a class or stage that there is not."""
    newest = steps.newest_failures(steps.root_of(settings))
    for name in classes:
        if name not in CLASSES:
            raise InputError(f"--class {name!r}: {nearest(name, CLASSES)}")
    if not classes:
        there = sorted({row["class"] for row in newest})
        raise InputError(
            f"name a --class; what has failed: {', '.join(there) or 'nothing'}; known: {', '.join(CLASSES)}"
        )
    for name in stages:
        if name not in STAGES:
            raise InputError(f"--stage {name!r}: {nearest(name, STAGES)}")
    return [row for row in newest if row["class"] in classes and row["stage"] in (stages or STAGES)]


def forget(root: str, found: Sequence[dict[str, Any]]) -> None:
    """Have these failures keep no run from trying again: each gets a newer row in the log, which says so."""
    Outcomes(root).write(
        Outcome(row["stage"], row["key"], "failed", spec=row["spec"], error_class=row["class"], permanent=False,
                message=f"to be tried again: {row['message']}") for row in found
    )  # fmt: skip


def described(settings: Settings, classes: Sequence[str], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What would be tried again."""
    there = Counter(row["class"] for row in steps.newest_failures(steps.root_of(settings)))
    others = ", ".join(f"{count} {name}" for name, count in sorted(there.items())) or "nothing"
    return {"classes": list(classes), "retried": _counts(found), "again": {}, "dry": False, "else": f"failed: {others}"}


def _identity(failure: dict[str, Any]) -> tuple[str, str, str | None]:
    return failure["stage"], failure["key"], failure["spec"]


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(" ".join(filter(None, (row["stage"], row["spec"]))) for row in rows))
