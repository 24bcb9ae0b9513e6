"""Failures of a class, tried again: they are forgotten, and the stages that they belong to run for their videos."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.backfill import narrowed
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.extract import ExtractResult, extract
from reelmill.flows.jobs.failures import Failure, newest_failures
from reelmill.flows.jobs.ingest import IngestResult, ingest
from reelmill.flows.jobs.results import OPTIONAL
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.errors import BY_CLASS
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Outcome, Outcomes
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.place import AnyRoot

STAGES = ("download", "extract")
"""Stages whose failures can be tried again."""
CLASSES = (*BY_CLASS, "unknown")


@dataclass(frozen=True)
class RetryResult:
    """What was tried again."""

    classes: list[str]
    retried: dict[str, int]
    """Failures by stage and store."""
    again: dict[str, int]
    """Of these, those that have failed again."""
    dry: bool
    others: str = field(metadata={"key": "else"})
    """What else has failed."""
    ingest: IngestResult | None = field(default=None, metadata=OPTIONAL)
    extract: ExtractResult | None = field(default=None, metadata=OPTIONAL)


def retry(
    settings: Settings, executor: Executor = IN_THIS_PROCESS, classes: Sequence[str] = (), stages: Sequence[str] = ()
) -> RetryResult:
    """Try again what failed with these classes (in these stages): download and measure, or extract, of those videos
    alone. Raises InputError for an unknown class or stage."""
    found = failures(settings, classes, stages)
    result = described(settings, classes, found)
    if not found:
        return result
    root = steps.root_of(settings)
    forget(root, found)
    videos = {stage: frozenset(one.key for one in found if one.stage == stage) for stage in STAGES}
    ingested = executor.job(ingest, settings, videos["download"]) if videos["download"] else None
    extracted = None
    if videos["extract"]:
        selection = Selection(videos=videos["extract"])
        extracted = executor.job(extract, narrowed(settings, (), selection), selection)
    asked = {one.identity for one in found}
    again = _counts([one for one in newest_failures(root) if one.identity in asked])
    return replace(result, again=again, ingest=ingested, extract=extracted)


def failures(settings: Settings, classes: Sequence[str], stages: Sequence[str] = ()) -> list[Failure]:
    """The newest failures of these classes. Raises InputError for an unknown class or stage."""
    newest = newest_failures(steps.root_of(settings))
    for name in classes:
        if name not in CLASSES:
            raise InputError(f"--class {name!r}: {nearest(name, CLASSES)}")
    if not classes:
        there = sorted({one.error_class for one in newest if one.stage in STAGES})
        raise InputError(
            f"name a --class; what has failed: {', '.join(there) or 'nothing'}; known: {', '.join(CLASSES)}"
        )
    for name in stages:
        if name not in STAGES:
            raise InputError(f"--stage {name!r}: {nearest(name, STAGES)}")
    return [one for one in newest if one.error_class in classes and one.stage in (stages or STAGES)]


def forget(root: AnyRoot, found: Sequence[Failure]) -> None:
    """Have these failures keep no run from trying again: each gets a newer row in the log, which says so."""
    Outcomes(root).write(
        Outcome(one.stage, one.key, "failed", spec=one.spec, error_class=one.error_class, permanent=False,
                message=f"to be tried again: {one.message}") for one in found
    )  # fmt: skip


def described(settings: Settings, classes: Sequence[str], found: Sequence[Failure], dry: bool = False) -> RetryResult:
    """What would be tried again."""
    newest = newest_failures(steps.root_of(settings))
    there = Counter(one.error_class for one in newest if one.stage in STAGES)
    others = ", ".join(f"{count} {name}" for name, count in sorted(there.items())) or "nothing"
    return RetryResult(list(classes), _counts(found), {}, dry, f"failed: {others}")


def _counts(found: Sequence[Failure]) -> dict[str, int]:
    return dict(Counter(one.where for one in found))
