"""What is missing and what it will cost, without doing any of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from reelmill.extractors.text import fitted
from reelmill.flows.jobs import steps, texts
from reelmill.flows.jobs.results import OPTIONAL
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.extract.missing import ExtractOptions, Todo, Video
from reelmill.pipeline.extract.texts import UNITS
from reelmill.pipeline.planning.cost import Cost, Facts, cost, facts_of, picture_bytes, ratios
from reelmill.pipeline.planning.rates import Rates, together
from reelmill.pipeline.planning.select import Selection, described
from reelmill.pipeline.sources.preview import Preview
from reelmill.storage import Root
from reelmill.storage.features import present

if TYPE_CHECKING:
    from reelmill.extractors.core.base import Extractor

STAGES: tuple[str, ...] = ("download", "extract", "texts", "train")
UNKNOWN_MS = 60_000
"""Taken for the length of a video of which nothing is known."""


@dataclass(frozen=True)
class DownloadPlan:
    """What is to be downloaded; None: not known."""

    videos: int
    bytes: int | None
    seconds: float | None


@dataclass(frozen=True)
class StorePlan:
    """What is missing of a feature store."""

    there: int
    """Videos in it."""
    videos: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class ExtractPlan:
    """What is to be extracted."""

    videos: int
    not_fetched: int
    """Of these, still to be downloaded."""
    left: int
    """Features are missing, but the video was not selected."""
    frames: int
    segments: int
    video_seconds: float
    bytes: int
    picture_bytes: int
    load_seconds: float
    """To build the networks and read their weights."""
    seconds: float | None
    stores: dict[str, StorePlan]


@dataclass(frozen=True)
class TextPlan:
    """What an extractor of text has to do. Counts are of videos, or of users with posts."""

    missing: int
    there: int
    fitted: bool


@dataclass(frozen=True)
class StagePlans:
    """Those that were asked for."""

    download: DownloadPlan | None = field(default=None, metadata=OPTIONAL)
    extract: ExtractPlan | None = field(default=None, metadata=OPTIONAL)
    texts: dict[str, TextPlan] | None = field(default=None, metadata=OPTIONAL)
    train: dict[str, str | dict[str, str]] | None = field(default=None, metadata=OPTIONAL)
    """{recommender: its stores}."""


@dataclass(frozen=True)
class PlanResult:
    """What is missing, and what it will cost on this machine."""

    root: str
    stages: StagePlans
    seconds: float | None
    bytes: int
    finish: str | None
    """When it would end if it was started now, ISO 8601."""
    dry_run: bool | None = field(default=None, metadata=OPTIONAL)
    source: str | None = field(default=None, metadata=OPTIONAL)
    """The table that would be read first."""
    preview: Preview | None = field(default=None, metadata=OPTIONAL)
    """How it would be read."""


def plan(
    settings: Settings, selection: Selection | None = None, stages: Sequence[str] = STAGES, calibrate: bool = False
) -> PlanResult:
    """What is missing of each stage: videos, frames, rows, bytes, and the seconds that it will take on this machine, as
    far as it has been measured here; with `calibrate` it is measured now, on a piece of a missing video."""
    found = StagePlans(
        download_plan(settings) if "download" in stages else None,
        _extract(settings, selection, calibrate, ahead="download" in stages) if "extract" in stages else None,
        _texts(settings) if "texts" in stages else None,
        {name: model.stores for name, model in settings.train.models.items()} if "train" in stages else None,
    )
    parts = [part for part in (found.download, found.extract) if part is not None]
    known = [part.seconds for part in parts if part.seconds is not None]
    seconds = sum(known) if len(known) == len(parts) else None
    finish = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    return PlanResult(
        steps.root_of(settings).address, found, seconds, sum(part.bytes or 0 for part in parts),
        finish.isoformat(timespec="seconds") if finish else None,
    )  # fmt: skip


def download_plan(settings: Settings) -> DownloadPlan:
    """Videos to fetch, taking them to be as large and as slow as those fetched before."""
    wanted = [one for one in steps.download_plan(settings) if one.stored is None]  # others are only measured again
    tables = steps.root_of(settings).tables
    mean = pc.mean(tables.read("media", ["bytes"])["bytes"]).as_py()
    log = tables.read("outcomes", ["stage", "status", "seconds"])
    done = log.filter(pc.and_(pc.equal(log["stage"], "download"), pc.equal(log["status"], "done")))
    each = pc.mean(done["seconds"]).as_py()
    count = len(wanted)
    seconds = 0.0 if not count else None if each is None else count * each / min(settings.download.workers, count)
    return DownloadPlan(count, 0 if not count else None if mean is None else round(count * mean), seconds)


def _extract(settings: Settings, selection: Selection | None, calibrate: bool, ahead: bool) -> ExtractPlan:
    """`ahead`: count also the videos that will be fetched before, by their claimed lengths."""
    began = time.monotonic()
    networks, options = steps.extractors(settings), steps.extract_options(settings)
    loading = time.monotonic() - began
    root, names = steps.root_of(settings), steps.spec_names(settings, networks)
    missing = steps.extract_plan(settings, networks)
    todo, left = steps.selected(settings, missing, selection)
    there = {spec.name: len(present(root, spec)) for specs in steps.specs(settings, networks) for spec in specs}
    facts, here = facts_of(root), len(todo)
    if ahead and networks and (selection is None or not selection.narrows):
        coming, guessed = _coming(settings, networks, facts)
        todo, facts = [*todo, *coming], facts | guessed
    seen, shared = steps.have_pictures(settings), ratios(root, names, options.format)
    rates = _rates(root, todo[:here], networks, options, calibrate)
    picture = picture_bytes(root) or rates.picture
    whole = cost(todo, facts, networks, options, seen, settings.extract.block, shared, picture)
    seconds = _seconds(whole, networks, rates, options.workers)
    blocks = -(-whole.videos // settings.extract.block)
    whole.seal(blocks + int((seconds or 0.0) // options.seal_seconds))
    stores = {}
    for name in names:
        cost_of = whole.stores.get(name)
        counts = (cost_of.videos, cost_of.rows, cost_of.bytes) if cost_of is not None else (0, 0, 0)
        stores[name] = StorePlan(there[name], *counts)
    return ExtractPlan(
        videos=whole.videos,
        not_fetched=whole.videos - here,
        left=left,
        frames=whole.frames,
        segments=whole.segments,
        video_seconds=round(whole.video_seconds, 3),
        bytes=whole.bytes,
        picture_bytes=whole.picture_bytes,
        load_seconds=round(loading, 3) if whole.videos else 0.0,
        seconds=None if seconds is None else round(seconds + (loading if whole.videos else 0.0), 3),
        stores=stores,
    )


def extract_bytes(settings: Settings, networks: "Sequence[Extractor]", todo: Sequence[Todo]) -> int:
    """By how much the root will grow when these videos are extracted."""
    root, options = steps.root_of(settings), steps.extract_options(settings)
    shared = ratios(root, steps.spec_names(settings, networks), options.format)
    picture, seen = picture_bytes(root) or Rates.read(root).picture, steps.have_pictures(settings)
    return cost(todo, facts_of(root), networks, options, seen, settings.extract.block, shared, picture).bytes


def _coming(
    settings: Settings, networks: "Sequence[Extractor]", facts: dict[str, Facts]
) -> tuple[list[Todo], dict[str, Facts]]:
    """Videos that are not downloaded yet, with their claimed or else the usual length; all features are missing."""
    rows = described(steps.root_of(settings)).select(["video_id", "claimed_duration_ms"]).to_pylist()
    claimed = {row["video_id"]: row["claimed_duration_ms"] for row in rows}
    usual = round(float(np.mean([fact.duration_ms for fact in facts.values()]))) if facts else UNKNOWN_MS
    every = dict(enumerate(steps.specs(settings, networks)))
    guessed = {
        w.video_id: Facts(claimed.get(w.video_id) or usual) for w in steps.download_plan(settings) if w.stored is None
    }
    return [(Video(v, "", "", 0, fact.duration_ms), every) for v, fact in guessed.items()], guessed


def _rates(
    root: Root, todo: Sequence[Todo], networks: "Sequence[Extractor]", options: ExtractOptions, calibrate: bool
) -> Rates:
    """Those measured before, or else now."""
    if not calibrate:
        return Rates.read(root)
    from reelmill.pipeline.planning.calibrate import calibrate as measure

    return measure(todo, networks, options)


def _seconds(whole: Cost, networks: "Sequence[Extractor]", rates: Rates, workers: int) -> float | None:
    """Of all sets of extractors one after another; None if something was never measured."""
    total = 0.0
    for numbers, amounts in whole.amounts.items():
        part = rates.seconds(together([networks[number] for number in numbers]), amounts, workers)
        if part is None:
            return None
        total += part
    return total


def _texts(settings: Settings) -> dict[str, TextPlan]:
    """Videos, or users with posts, that each encoder has not encoded."""
    root, found = steps.root_of(settings), {}
    for encoder, refit in texts.encoders(settings.extract):
        units = {unit.key for unit in UNITS[encoder.rows](root)[0]}
        known = fitted.find(root, encoder) and not refit
        there = set.intersection(*(present(root, spec) for spec in encoder.specs().values())) if known else set()
        found[encoder.name] = TextPlan(len(units - there), len(units & there), known)
    return found
