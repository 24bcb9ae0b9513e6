"""What is missing will cost: windows, rows, bytes. Arithmetic over measured facts; nothing is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.frames import FramePlan
from reelmill.pipeline.extract.missing import ExtractOptions, Todo
from reelmill.pipeline.planning.rates import label
from reelmill.storage import Spec, Tables, parts
from reelmill.storage.blocks import COLUMNS
from reelmill.storage.features import list_stores, open_store
from reelmill.storage.shards import Format

ROW_BYTES = sum(np.dtype(kind).itemsize for kind in COLUMNS.values())
"""Of what stands beside each vector."""
BLOCK_BYTES = 450
"""Of an index entry with its provenance."""
SHARD_BYTES = 14_000
"""Of an HDF5 shard without content: its headers, the spec, alignment."""
PICTURE, HEADER = 0.24, 620
"""Bytes a pixel of a key frame, and of its JPEG header, where none was kept yet; 180 lines of a film have 14 kB."""
PICTURES_BYTES = 3_000
"""Of a part of the table `frames` without content."""


@dataclass
class Cells:
    """What is missing in one store."""

    videos: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass
class Cost:
    """What some videos will cost; `amounts` are those of `rates`."""

    videos: int = 0
    frames: int = 0
    video_seconds: float = 0.0
    segments: int = 0
    stores: dict[str, Cells] = field(default_factory=dict)
    pictures: int = 0
    picture_bytes: int = 0
    amounts: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict)
    """By the numbers of the extractors that will run together."""

    @property
    def bytes(self) -> int:
        """Of all stores and key frames."""
        return sum(cells.bytes for cells in self.stores.values()) + self.picture_bytes

    def seal(self, shards: int) -> None:
        """Count what so many shards of each store, and parts of key frames, cost besides their content."""
        for cells in self.stores.values():
            cells.bytes += shards * SHARD_BYTES
        if self.pictures:
            self.picture_bytes += shards * PICTURES_BYTES


@dataclass(frozen=True)
class Facts:
    """What is known of a video's file."""

    duration_ms: int
    fps: float = 25.0
    sound: bool = True
    width: int = 640
    height: int = 360


def facts_of(root: str) -> dict[str, Facts]:
    """Of every video with media."""
    names = ["video_id", "duration_ms", "mean_fps", "audio_rate", "width", "height", "rotation"]
    found = {}
    for row in Tables(root).read("media", names).to_pylist():
        turned = row["rotation"] in (90, 270)
        size = (row["height"], row["width"]) if turned else (row["width"], row["height"])
        found[row["video_id"]] = Facts(row["duration_ms"], row["mean_fps"], row["audio_rate"] is not None, *size)
    return found


def windows_of(extractor: Extractor, facts: Facts, segment_ms: int) -> int:
    """How many windows the extractor will see of a video, taking its frames to be evenly spaced."""
    plan, total = extractor.plan, 0
    if not isinstance(plan, FramePlan):
        return (1 if plan.parts is not None else -(-facts.duration_ms // segment_ms)) if facts.sound else 0
    whole, rest = divmod(facts.duration_ms, segment_ms)
    for times, length in ((whole, segment_ms), (1, rest)):
        if times and length:
            frames = max(1, round(length * facts.fps / 1000))
            total += times * len(plan.windows.choose(np.arange(frames) * 1000 / facts.fps, 0, length)[0])
    return total


def cost(
    todo: Sequence[Todo], facts: Mapping[str, Facts], extractors: Sequence[Extractor], options: ExtractOptions,
    have_pictures: set[str], block: int, ratios: Mapping[str, float], picture: float | None = None,
) -> Cost:  # fmt: skip
    """What these videos will cost, taken `block` at a time; shards are counted by `Cost.seal`. `ratios`: of bytes on
    disk to bytes of vectors, of the stores that are not written as they are. `picture`: bytes of a key frame, if known.
    """
    found = Cost()
    for video, lacking in todo:
        fact = facts[video.video_id]
        segments = -(-fact.duration_ms // options.segment_ms)
        frames = round(fact.duration_ms * fact.fps / 1000)
        found.videos += 1
        found.video_seconds += fact.duration_ms / 1000
        found.segments += segments
        amounts = found.amounts.setdefault(tuple(sorted(lacking)), {"decode": 0, "wait": 0, "rest": 0})
        for part in ("wait", "rest"):
            amounts[part] += fact.duration_ms / 1000
        pictured = options.thumbnail_height > 0 and video.video_id not in have_pictures
        if pictured:
            found.pictures += segments
            pixels = options.thumbnail_height**2 * fact.width / fact.height
            found.picture_bytes += round(segments * (picture or HEADER + PICTURE * pixels))
        if pictured or any(isinstance(extractors[number].plan, FramePlan) for number in lacking):
            found.frames += frames
            amounts["decode"] += frames
        for number, specs in lacking.items():
            windows = windows_of(extractors[number], fact, options.segment_ms)
            name = label(extractors[number])
            amounts[name] = amounts.get(name, 0) + windows
            for spec in specs:
                cells = found.stores.setdefault(spec.name, Cells())
                cells.videos += 1
                rows = {"segment": segments, "window": windows}.get(spec.rows, 1)
                cells.rows += rows
                cells.bytes += block_bytes(spec, rows, ratios.get(spec.name, 1.0))
    blocks = -(-found.videos // block)
    for numbers, amounts in found.amounts.items():
        amounts["begin"] = blocks / len(found.amounts)
        for number in numbers:  # the last batch of a block costs as much as a full one
            amounts[label(extractors[number])] += amounts["begin"] * (extractors[number].batch_size - 1) / 2
    return found


def block_bytes(spec: Spec, rows: int, ratio: float = 1.0) -> int:
    """Of one video's rows on disk."""
    return round(rows * spec.dim * np.dtype(spec.dtype).itemsize * ratio) + rows * ROW_BYTES + BLOCK_BYTES


def picture_bytes(root: str) -> float | None:
    """Mean bytes of the key frames that are kept already; None if there are none."""
    return pc.mean(pc.binary_length(Tables(root).read("frames", ["jpeg"])["jpeg"])).as_py()


def ratios(root: str, names: Sequence[str], format: Format) -> dict[str, float]:
    """For a format that compresses: bytes on disk to bytes of vectors, of those of these stores that are there."""
    found: dict[str, float] = {}
    if format == "hdf5":
        return found
    for name in set(names) & set(list_stores(root)):
        store = open_store(root, name)
        packed = [shard for shard in store.shards if shard.path.suffix == ".parquet"]
        plain = sum(shard.rows for shard in packed) * store.spec.dim * np.dtype(store.spec.dtype).itemsize
        if plain:
            sizes = parts.files(store.folder)
            found[name] = sum(sizes.get(shard.path.name, 0) for shard in packed) / plain
    return found
