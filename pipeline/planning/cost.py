"""How many windows, rows and bytes the missing features are. Computed from measured facts; nothing is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.frames import FramePlan
from reelmill.pipeline.extract.missing import ExtractOptions, Todo
from reelmill.pipeline.planning.rates import label
from reelmill.storage import Root, Spec, Tables, parts
from reelmill.storage.blocks import COLUMNS
from reelmill.storage.place import AnyRoot
from reelmill.storage.shards import Format

ROW_BYTES = sum(np.dtype(kind).itemsize for kind in COLUMNS.values())
"""Bytes of the columns beside each vector."""
BLOCK_BYTES = 450
"""Bytes of an index entry with its provenance."""
SHARD_BYTES = 14_000
"""Bytes of an HDF5 shard without content: its headers, the spec, alignment."""
PICTURE, HEADER = 0.24, 620
"""Bytes per pixel of a key frame, and of its JPEG header, if none is stored yet; 180 lines of a film have 14 kB."""
PICTURES_BYTES = 3_000
"""Bytes of a part of the table `frames` without content."""


@dataclass
class Cells:
    """What is missing in one store."""

    videos: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass
class Cost:
    """The cost of some videos; `amounts` are as in `rates`."""

    videos: int = 0
    frames: int = 0
    video_seconds: float = 0.0
    segments: int = 0
    stores: dict[str, Cells] = field(default_factory=dict)
    pictures: int = 0
    picture_bytes: int = 0
    amounts: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict)
    """{numbers of the extractors that run together: {part: amount}}."""

    @property
    def bytes(self) -> int:
        """Bytes of all stores and key frames."""
        return sum(cells.bytes for cells in self.stores.values()) + self.picture_bytes

    def seal(self, shards: int) -> None:
        """Add the overhead of this many shards of each store, and parts of key frames."""
        for cells in self.stores.values():
            cells.bytes += shards * SHARD_BYTES
        if self.pictures:
            self.picture_bytes += shards * PICTURES_BYTES


@dataclass(frozen=True)
class Facts:
    """What is known about the file of a video."""

    duration_ms: int
    fps: float = 25.0
    sound: bool = True
    width: int = 640
    height: int = 360


def facts_of(root: AnyRoot) -> dict[str, Facts]:
    """The facts of every video with media."""
    names = ["video_id", "duration_ms", "mean_fps", "audio_rate", "width", "height", "rotation"]
    found = {}
    for row in Tables(root).read("media", names).to_pylist():
        turned = row["rotation"] in (90, 270)
        size = (row["height"], row["width"]) if turned else (row["width"], row["height"])
        found[row["video_id"]] = Facts(row["duration_ms"], row["mean_fps"], row["audio_rate"] is not None, *size)
    return found


def windows_of(extractor: Extractor, facts: Facts, segment_ms: int) -> int:
    """Number of windows of a video for an extractor, assuming evenly spaced frames."""
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
    """The cost of these videos, processed in blocks of `block`; shards are counted by `Cost.seal`. `ratios`: bytes on
    disk divided by bytes of vectors, for compressed stores. `picture`: bytes of a key frame, if known."""
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
    """Bytes of one video's rows on disk."""
    return round(rows * spec.dim * np.dtype(spec.dtype).itemsize * ratio) + rows * ROW_BYTES + BLOCK_BYTES


def picture_bytes(root: AnyRoot) -> float | None:
    """Mean size of the stored key frames in bytes; None if there are none."""
    return pc.mean(pc.binary_length(Tables(root).read("frames", ["jpeg"])["jpeg"])).as_py()


def ratios(root: AnyRoot, names: Sequence[str], format: Format) -> dict[str, float]:
    """For a format that compresses: bytes on disk divided by bytes of vectors, of the existing ones of these stores."""
    found: dict[str, float] = {}
    if format == "hdf5":
        return found
    features = Root(root).features
    for name in set(names) & set(features.list()):
        store = features.open(name)
        packed = [shard for shard in store.shards if shard.path.suffix == ".parquet"]
        plain = sum(shard.rows for shard in packed) * store.spec.dim * np.dtype(store.spec.dtype).itemsize
        if plain:
            sizes = parts.files(store.folder)
            found[name] = sum(sizes.get(shard.path.name, 0) for shard in packed) / plain
    return found
