"""The steps of the jobs: plain functions over settings."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reelmill.flows.jobs.results import INLINE
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline import labels, sources
from reelmill.pipeline.decode import Limits, Streams
from reelmill.pipeline.download.ingest import KnownVideos, Wanted, fetch_media, missing_media
from reelmill.pipeline.extract.missing import (
    ExtractOptions,
    Todo,
    Video,
    missing_pictures,
    missing_specs,
    pictured,
    specs_of,
    still_missing,
)
from reelmill.pipeline.extract.videos import ExtractSummary, extract_missing
from reelmill.pipeline.labels import LabelCounts
from reelmill.pipeline.planning import rates
from reelmill.pipeline.planning.select import Selection, first, ordered
from reelmill.pipeline.probe import COLUMNS, aspect_of, streams_of
from reelmill.pipeline.sources.ingest import IngestCounts
from reelmill.pipeline.sources.rows import AnySource
from reelmill.storage import Outcome, Root, Spec
from reelmill.storage.errors import InputError
from reelmill.storage.features import Snapshot, sweep
from reelmill.storage.parts import list_parts

if TYPE_CHECKING:
    from reelmill.extractors.core.base import Extractor

MANY_PARTS = 64
"""A table of more parts is merged: each costs a reader about a millisecond."""


def root_of(settings: Settings) -> Root:
    """The root that the settings name."""
    return Root(settings.root)


@dataclass(frozen=True)
class SourceResult:
    """What a source held."""

    read: bool
    """False: the settings name no source."""
    counts: IngestCounts | None = field(metadata=INLINE)


def read_source(settings: Settings) -> SourceResult:
    """Source table → events, rejects, videos. Does nothing if the tables already hold the source."""
    source = open_source(settings)
    if source is None:
        return SourceResult(False, None)
    return SourceResult(True, sources.write_source(root_of(settings), source))


def open_source(settings: Settings) -> AnySource | None:
    """The source that the settings name, opened: its form and columns are checked, its rows are not read."""
    source = settings.source
    if source is None:
        return None
    if source.format == "folder":
        return sources.read_folder(source.path, source.name)
    media = root_of(settings).tables.read("media", ["video_id", "duration_ms"])
    measured = dict(zip(media["video_id"].to_pylist(), media["duration_ms"].to_pylist(), strict=True))
    return sources.open_source(
        source.path, source.format, mapping=source.mapping or None, url_template=source.url_template,
        name=source.name, durations=measured, time_unit=source.time_unit, dialect=source.dialect(),
    )  # fmt: skip


def download_plan(settings: Settings) -> list[Wanted]:
    """Videos without media, and those whose media are to be measured again."""
    return missing_media(root_of(settings), retry=settings.retry_failed, streams=streams(settings))


def fetch_block(
    settings: Settings,
    wanted: Sequence[Wanted],
    stop: threading.Event | None = None,
    known: KnownVideos | None = None,
) -> list[Outcome]:
    """Fetch and measure some videos, one after another, until `stop` is set."""
    report = current()

    def seen(entry: Wanted, outcome: Outcome) -> None:
        note = "" if outcome.status == "done" else f"{outcome.key}: {outcome.error_class}"
        report.finished("download", entry.video_id, note=note)

    return fetch_media(
        root_of(settings), wanted, settings.download, limits(settings), seen, stop, known, streams(settings)
    )


def label(settings: Settings) -> LabelCounts:
    """Grid and labels of every video that has a duration."""
    grid = settings.segments
    return labels.write_labels(root_of(settings), grid.segment_ms, grid.theta)


def extractors(settings: Settings) -> "list[Extractor]":
    """The extractors of frames and sound that the settings name, with their weights loaded."""
    from reelmill.extractors.core.settings import Compute
    from reelmill.extractors.registry import extractor, reads_text

    chosen = settings.extract
    if not chosen.extractors:
        raise InputError("extract.extractors is empty; name at least one, such as {c3d: {}}")
    compute = Compute(chosen.device, chosen.precision, chosen.compile)
    return [extractor(name, how, compute) for name, how in chosen.extractors.items() if not reads_text(name)]


def extract_plan(settings: Settings, networks: "Sequence[Extractor]") -> list[Todo]:
    """Videos with media of which features of these networks are missing, with their specs."""
    return missing_features(settings, specs(settings, networks))


def missing_features(settings: Settings, specs: Sequence[Sequence[Spec]]) -> list[Todo]:
    """Videos with media of which features are missing, with their specs; then those of which only key frames are,
    without a spec. `specs`: of each network."""
    root, videos, snapshot = root_of(settings), media_videos(settings), snapshot_of_process(settings)
    again = settings.retry_failed
    todo = missing_specs(root, videos, specs, retry=again, snapshot=snapshot)
    if settings.extract.thumbnail_height and any(specs):
        length = settings.segments.segment_ms
        todo += missing_pictures(root, videos, specs, length, retry=again, snapshot=snapshot)
    return todo


def selected(settings: Settings, todo: Sequence[Todo], selection: Selection | None) -> tuple[list[Todo], int]:
    """Those of the videos to do that are selected, in the order to do them, and how many are left out."""
    if selection is None:
        return list(todo), 0
    by_video = {video.video_id: (video, missing) for video, missing in todo}
    chosen = first(selection, ordered(root_of(settings), selection), by_video)
    return [by_video[video] for video in chosen], len(todo) - len(chosen)


def media_videos(settings: Settings) -> list[Video]:
    """Every video with media."""
    root = root_of(settings)
    columns = ["video_id", "uri", "sha256", *COLUMNS]
    rows = root.tables.read("media", columns).sort_by("video_id").to_pylist()
    return [
        Video(
            row["video_id"], str(root.file(row["uri"])), row["sha256"], row["start_ms"], row["duration_ms"],
            row["bytes"], streams_of(row), row["named_streams"], aspect_of(row),
        )
        for row in rows
    ]  # fmt: skip


def count_media(settings: Settings) -> int:
    """How many videos have media."""
    return root_of(settings).tables.read("media", ["video_id"]).num_rows


_snapshots: dict[Root, Snapshot] = {}
"""What this process knows of the stores of a root; one root at a time."""
_networks: "dict[str, list[Extractor]]" = {}
"""The networks of this process, by the settings that they were built from; one set at a time."""


def networks_of_process(settings: Settings) -> "list[Extractor]":
    """The networks that the settings name, built once for all blocks that this process extracts."""
    key = settings.extract.model_dump_json()
    if key not in _networks:
        _networks.clear()
        _networks[key] = extractors(settings)
    return _networks[key]


def snapshot_of_process(settings: Settings) -> Snapshot:
    """What the stores of the root hold, read once for all blocks that this process extracts."""
    root = root_of(settings)
    if root not in _snapshots:
        _snapshots.clear()
        _snapshots[root] = root.snapshot()
    return _snapshots[root]


def release_networks() -> None:
    """Give back the memory of this process's networks, and of what it knows of the stores."""
    _networks.clear()
    _snapshots.clear()


def extract_block(settings: Settings, todo: Sequence[Todo], have_pictures: set[str]) -> ExtractSummary:
    """Decode some videos and run on them what nobody else has run meanwhile.

    Raises InputError if this machine's networks would write into other stores than those that the work was planned
    for: arithmetic may differ between machines."""
    report, networks = current(), networks_of_process(settings)
    planned = {spec.name for _, missing in todo for specs in missing.values() for spec in specs}
    if unplanned := sorted(planned - set(spec_names(settings, networks))):
        raise InputError(
            f"a worker cannot write the store {unplanned[0]} that was planned elsewhere; give all machines the same "
            "versions, and set extract.device and extract.precision to what all of them have"
        )

    def seen(video: Video, outcome: Outcome) -> None:
        note = "" if outcome.status == "done" else f"{video.video_id}: {outcome.error_class}"
        report.finished("extract", video.video_id, video.duration_ms / 1000, note)

    root, options = root_of(settings), extract_options(settings)
    left = still_missing(snapshot_of_process(settings), todo)
    to_do = {video.video_id for video, _ in left}
    for video, _ in todo:
        if video.video_id not in to_do:  # another process has extracted it
            report.finished("extract", video.video_id, video.duration_ms / 1000)
    done = extract_missing(root, left, networks, options, have_pictures, seen)
    rates.keep(root, networks, done.parts)
    return done


def complete(settings: Settings, specs: Sequence[Sequence[Spec]]) -> int:
    """Videos with media of which every feature is present."""
    videos, snapshot = {video.video_id for video in media_videos(settings)}, snapshot_of_process(settings)
    for of_one in specs:
        snapshot.refresh(of_one)
        for spec in of_one:
            videos &= set(snapshot.store(spec).keys())
    return len(videos)


def have_pictures(settings: Settings) -> set[str]:
    """Videos whose key frames are kept already."""
    return pictured(root_of(settings), settings.segments.segment_ms)


def tidy(settings: Settings) -> None:
    """Remove what dead writers left behind, and merge the small parts of tables that have many."""
    root = root_of(settings)
    tables = root.tables
    tables.sweep()
    sweep(root)
    for name in ("videos", "media", "frames", "outcomes", "rates"):
        if len(list_parts(tables.folder / name)) > MANY_PARTS:
            tables.compact(name)


def spec_names(settings: Settings, networks: "Sequence[Extractor]") -> list[str]:
    """Names of the stores that these networks write."""
    return [spec.name for of_one in specs(settings, networks) for spec in of_one]


def specs(settings: Settings, networks: "Sequence[Extractor]") -> list[list[Spec]]:
    """The specs of each network's layers."""
    return specs_of(networks, extract_options(settings))


def has_events(settings: Settings) -> bool:
    """Whether there is anything to fit."""
    return root_of(settings).tables.read("events", ["video_id"]).num_rows > 0


def extract_options(settings: Settings) -> ExtractOptions:
    """The extraction stage's own options."""
    chosen = settings.extract
    return ExtractOptions(
        segment_ms=settings.segments.segment_ms, rows=chosen.rows, thumbnail_height=chosen.thumbnail_height,
        decoder=chosen.decoder, pixels=chosen.pixels, format=chosen.format, workers=chosen.workers,
        limits=limits(settings),
    )  # fmt: skip


def streams(settings: Settings) -> Streams:
    """Which streams the settings name."""
    return Streams(settings.extract.video_stream, settings.extract.audio_stream)


def limits(settings: Settings) -> Limits:
    """Bounds of decoding."""
    chosen = settings.extract
    return Limits(
        max_seconds=chosen.max_seconds, max_pixels=chosen.max_pixels, wall_seconds=chosen.wall_seconds
    )  # fmt: skip


def by_class(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Failures by class."""
    return dict(Counter(str(o.error_class) for o in outcomes if o.status == "failed"))
