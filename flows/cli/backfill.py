"""`reelmill backfill`: the missing features of chosen extractors and videos."""

from reelmill.flows.cli.extract import render
from reelmill.flows.cli.job import load_settings, work
from reelmill.flows.cli.options import DryRun, Extractors, Json, Limit, Order, Root, Set, SettingsFile, Since, Where
from reelmill.flows.cli.plan import show_plan


def backfill(
    settings_file: SettingsFile = None,
    root: Root = None,
    extractor: Extractors = None,
    since: Since = None,
    where: Where = None,
    limit: Limit = None,
    order: Order = "labels",
    set: Set = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compute the missing features of chosen extractors and videos, in order of priority."""
    from reelmill.flows.jobs.backfill import backfill as job
    from reelmill.flows.jobs.backfill import narrowed
    from reelmill.pipeline.planning.select import Selection

    chosen = load_settings(settings_file, root, set)
    selection = Selection(since, where, limit, order)  # type: ignore[arg-type]
    if dry_run:
        narrow = narrowed(chosen, extractor or (), selection)
        return show_plan(narrow, ("extract", "texts"), json, selection=selection)
    return work(
        job, chosen, json, render, extractors=extractor or (), since=since, where=where, limit=limit,
        order=selection.order,
    )  # fmt: skip
