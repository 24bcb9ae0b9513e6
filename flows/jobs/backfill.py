"""Missing features: `extract` for chosen extractors and videos, in order of priority."""

from collections.abc import Sequence

from reelmill.extractors.registry import EXTRACTORS, reads_text, settings_for
from reelmill.flows.jobs.check import check_extract
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.extract import ExtractResult, extract
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.planning.select import Order, Selection
from reelmill.storage.errors import InputError, nearest


def backfill(
    settings: Settings,
    executor: Executor = IN_THIS_PROCESS,
    extractors: Sequence[str] = (),
    since: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    order: Order = "labels",
) -> ExtractResult:
    """Exactly the missing (video, spec) cells of these extractors (the settings' own if none is named), in order.

    `since`: only videos fetched at this time or later. `where`: only videos of which the filter is true (see
    `pipeline/planning/where.py`). `limit`: at most this many videos. `order`: labels, newest, shortest or any
    (`pipeline/planning/select.py`). Raises InputError for a value that breaks a rule."""
    selection = Selection(since, where, limit, order)
    return executor.job(extract, narrowed(settings, extractors, selection), selection)


def narrowed(settings: Settings, names: Sequence[str], selection: Selection) -> Settings:
    """Settings with these extractors only, each as the settings have it, else with its defaults.

    Encoders of text read all texts of the root, in seconds: where videos are selected they are left out, or refused if
    they were named. Raises InputError for an unknown name."""
    own = settings.extract.extractors
    for name in names:
        if name not in EXTRACTORS:
            raise InputError(f"--extractor {name!r}: {nearest(name, tuple(EXTRACTORS))}")
    if selection.narrows and (texts := [name for name in names if reads_text(name)]):
        raise InputError(f"--extractor {texts[0]} reads all texts of the root: leave out --since, --where and --limit")
    wanted = dict.fromkeys(names) or [name for name in own if not (selection.narrows and reads_text(name))]
    if not wanted:
        raise InputError("the settings name encoders of text only: leave out --since, --where and --limit")
    chosen = {name: own[name] if name in own else settings_for(name, {}) for name in wanted}
    narrow = settings.model_copy(update={"extract": settings.extract.model_copy(update={"extractors": chosen})})
    check_extract(narrow.extract)
    return narrow
