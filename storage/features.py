"""Feature stores: blocks of vectors, one block a video and spec, in sealed shards.

    ROOT/features/c3d-fc6-1f0c22ab/part-….h5      (or .parquet; a folder may hold both)

Writing: `FeatureWriter.add(block)` collects blocks in memory and seals a shard whenever enough bytes are together.
Reading: `open_store(root, name)` lists the shards once; `refresh()` lists them again. Where two shards hold the same
video the newer one counts. A shard of another spec in the folder is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np

from storage import parts
from storage.errors import CorruptPart, InputError, MissingFeatures, SpecMismatch, nearest
from storage.spec import Spec
from storage.tables import local_root

NO_DATA, VALID, PADDED = 0, 1, 2
"""Values of a mask: no frame could be decoded (the row is NaN); full windows; too few frames, the last one repeated."""

Format = Literal["hdf5", "parquet"]
SUFFIX: dict[Format, str] = {"hdf5": ".h5", "parquet": ".parquet"}


@dataclass(frozen=True)
class Block:
    """The features of one video under one spec. `rows` is the number of segments, or of windows."""

    video_id: str
    features: np.ndarray
    """(rows, dim), the spec's dtype; NaN where `mask` is NO_DATA."""
    mask: np.ndarray
    """(rows,) uint8: NO_DATA, VALID or PADDED. Usable rows are `mask > 0`."""
    segment_index: np.ndarray
    """(rows,) int32, ascending; each at most once in a store of segments."""
    start_ms: np.ndarray
    """(rows,) int64, start of the segment, or time of the window's first frame."""
    stop_ms: np.ndarray
    """(rows,) int64, end of the segment, or time after the window's last frame."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: media hash, frames decoded, decoding errors, program version, time."""

    def __len__(self) -> int:
        return len(self.features)

    def check(self, spec: Spec) -> None:
        """Raise InputError if the block breaks a rule of its spec."""
        rows = len(self.features)
        if self.features.shape != (rows, spec.dim):
            raise InputError(
                f"block {self.video_id!r}: features are {self.features.shape}, the spec says (rows, {spec.dim})"
            )
        for name in ("mask", "segment_index", "start_ms", "stop_ms"):
            if getattr(self, name).shape != (rows,):
                raise InputError(f"block {self.video_id!r}: {name} is {getattr(self, name).shape}, expected ({rows},)")
        step = np.diff(self.segment_index)
        if (step < (1 if spec.rows == "segment" else 0)).any():
            raise InputError(f"block {self.video_id!r}: segment_index must ascend, one row a segment")
        valid = self.mask > NO_DATA
        if not np.isfinite(self.features[valid]).all():
            raise InputError(f"block {self.video_id!r}: a valid row holds NaN or infinity; mask it instead")


class Shard(Protocol):
    """One sealed file, open for reading. `hdf5.Hdf5Shard` and `parquet.ParquetShard` are the two."""

    path: Path
    spec: Spec
    video_ids: list[str]
    row_start: np.ndarray
    row_stop: np.ndarray
    mask: np.ndarray
    segment_index: np.ndarray
    start_ms: np.ndarray
    stop_ms: np.ndarray
    provenance: list[dict[str, Any]]

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy rows (n,) of this shard into `out` (n, dim)."""

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, (stop − start, dim)."""

    def verify(self) -> None:
        """Raise CorruptPart if the content does not match the checksums written with it."""


class FeatureStore:
    """Read access to one store. Open it with `open_store`."""

    def __init__(self, folder: Path, spec: Spec | None = None) -> None:
        self.folder = folder
        self._expected = spec
        self.refresh()

    def refresh(self) -> None:
        """List the shards again, to see what was committed since."""
        self.shards = [_open_shard(path) for path in parts.list_parts(self.folder)]
        if not self.shards and self._expected is None:
            raise InputError(f"{self.folder} holds no shard; extract features first (reelmill extract)")
        self.spec = self._expected or self.shards[0].spec
        for shard in self.shards:
            if shard.spec != self.spec:
                raise SpecMismatch(
                    f"{shard.path} has spec {shard.spec.name}, the store is {self.spec.name}; move it away"
                )
        offsets = np.cumsum([0] + [len(s.mask) for s in self.shards])
        self._offsets = offsets
        self._home: dict[str, tuple[int, int]] = {}  # video -> shard, place in the shard
        for number, shard in enumerate(self.shards):
            for place, video in enumerate(shard.video_ids):
                self._home[video] = (number, place)  # a newer shard overwrites
        self._rows: dict[tuple[str, int], int] = {}
        if self.spec.rows == "segment":
            for video, (number, place) in self._home.items():
                shard = self.shards[number]
                a, b = int(shard.row_start[place]), int(shard.row_stop[place])
                base = int(offsets[number])
                for i, segment in zip(range(a, b), shard.segment_index[a:b].tolist(), strict=True):
                    self._rows[video, segment] = base + i

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._home

    def __len__(self) -> int:
        return len(self._home)

    def keys(self) -> list[str]:
        """Ids of the videos in the store, sorted."""
        return sorted(self._home)

    def read(self, video_id: str) -> Block:
        """The newest complete block of a video."""
        if video_id not in self._home:
            raise MissingFeatures(f"video {video_id!r} is not in {self.spec.name}; extract it first")
        number, place = self._home[video_id]
        shard = self.shards[number]
        a, b = int(shard.row_start[place]), int(shard.row_stop[place])
        return Block(video_id, shard.slice(a, b), shard.mask[a:b], shard.segment_index[a:b],
                     shard.start_ms[a:b], shard.stop_ms[a:b], shard.provenance[place])  # fmt: skip

    def locate(self, pairs: Iterable[tuple[str, int]]) -> np.ndarray:
        """Row numbers (n,) int64 for `take`. Look them up once, take them often."""
        if self.spec.rows != "segment":
            raise InputError(f"{self.spec.name} has one row a window, not a segment; use read(video_id)")
        try:
            return np.fromiter((self._rows[v, s] for v, s in pairs), dtype=np.int64)
        except KeyError as error:
            video, segment = error.args[0]
            what = f"segment {segment} of video {video!r}" if video in self._home else f"video {video!r}"
            raise MissingFeatures(f"{what} is not in {self.spec.name}; extract it first") from None

    def take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Vectors (n, dim) of row numbers (n,), in the order asked, duplicates allowed."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= self._offsets[-1]):
            raise InputError(f"row number out of range: the store has {self._offsets[-1]} rows")
        if out is None:
            out = np.empty((len(rows), self.spec.dim), self.spec.dtype)
        if len(self.shards) == 1:
            self.shards[0].take(rows, out)
            return out
        home = np.searchsorted(self._offsets, rows, side="right") - 1
        for number in np.unique(home):
            here = np.flatnonzero(home == number)
            picked = np.empty((len(here), self.spec.dim), self.spec.dtype)
            self.shards[number].take(rows[here] - self._offsets[number], picked)
            out[here] = picked
        return out

    def row_mask(self, rows: np.ndarray) -> np.ndarray:
        """Mask (n,) uint8 of row numbers (n,)."""
        everything = np.concatenate([s.mask for s in self.shards]) if self.shards else np.zeros(0, np.uint8)
        return everything[rows]

    def rows(self, pairs: Iterable[tuple[str, int]]) -> np.ndarray:
        """Vectors (n, dim) of [(video_id, segment_index), …]; NaN where the segment had no decodable frame."""
        return self.take(self.locate(pairs))

    def view(self, pairs: Sequence[tuple[str, int]]) -> "View":
        """A map-style data set over these segments for `torch.utils.data.DataLoader`."""
        return View(self, self.locate(pairs))

    def blocks(self) -> Iterator[Block]:
        """Every block, shard by shard."""
        for video in sorted(self._home, key=self._home.__getitem__):
            yield self.read(video)

    def verify(self) -> list[CorruptPart]:
        """Check every shard against its checksums; return what is wrong, one error a shard."""
        wrong = []
        for shard in self.shards:
            try:
                shard.verify()
            except CorruptPart as error:
                wrong.append(error)
        return wrong


class View:
    """Map-style data set over rows of a store: `len`, one item (dim,), or many at once, which the loader prefers."""

    def __init__(self, store: FeatureStore, rows: np.ndarray) -> None:
        self.store, self.row_numbers = store, rows

    def __len__(self) -> int:
        return len(self.row_numbers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.store.take(self.row_numbers[[index]])[0]

    def __getitems__(self, indices: list[int]) -> list[np.ndarray]:
        return list(self.store.take(self.row_numbers[indices]))


class FeatureWriter:
    """Collects blocks and seals them into shards. Use it as a context: leaving it seals what is left, also on an error,
    so that an interrupted run keeps every finished video."""

    def __init__(
        self,
        root: str | Path,
        spec: Spec,
        format: Format = "hdf5",
        shard_bytes: int = 256 << 20,
        shard_blocks: int = 1024,
    ) -> None:
        if format not in SUFFIX:
            raise InputError(f"feature format {format!r}: {nearest(format, list(SUFFIX))}")
        self.folder = features_folder(root) / spec.name
        self.spec, self.format = spec, format
        self.shard_bytes, self.shard_blocks = shard_bytes, shard_blocks
        self._blocks: list[Block] = []
        self._bytes = 0

    def add(self, block: Block) -> None:
        """Check a block and take it in; seals a shard when enough is together."""
        block.check(self.spec)
        self._blocks.append(block)
        self._bytes += block.features.nbytes
        if self._bytes >= self.shard_bytes or len(self._blocks) >= self.shard_blocks:
            self.seal()

    def seal(self) -> Path | None:
        """Write what was collected as one complete shard; return the folder's newest part."""
        if not self._blocks:
            return None
        with parts.new_part(self.folder, SUFFIX[self.format]) as path:
            _writer(self.format)(path, self.spec, self._blocks)
        self._blocks, self._bytes = [], 0
        return parts.list_parts(self.folder)[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seal()


def features_folder(root: str | Path) -> Path:
    """`ROOT/features`."""
    return local_root(root) / "features"


def list_stores(root: str | Path) -> list[str]:
    """Names of the stores that hold at least one shard."""
    folder = features_folder(root)
    return sorted(p.name for p in folder.glob("*") if parts.list_parts(p))


def open_store(root: str | Path, name: str) -> FeatureStore:
    """Open a store by its name (`c3d-fc6-1f0c22ab`) or by a prefix that fits one store only (`c3d-fc6`)."""
    known = list_stores(root)
    fits = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
    if len(fits) > 1:
        raise InputError(f"store {name!r} is ambiguous: {', '.join(fits)}; give the whole name")
    if not fits:
        raise InputError(
            f"no store {name!r} under {features_folder(root)}; {nearest(name, known) if known else 'none yet'}"
        )
    return FeatureStore(features_folder(root) / fits[0])


def present(root: str | Path, spec: Spec) -> set[str]:
    """Ids of the videos that have a block under this spec; empty if there is no store yet."""
    return set(FeatureStore(features_folder(root) / spec.name, spec).keys())


def _open_shard(path: Path) -> Shard:
    from storage import hdf5, parquet

    if path.suffix == ".h5":
        return hdf5.Hdf5Shard(path)
    if path.suffix == ".parquet":
        return parquet.ParquetShard(path)
    raise CorruptPart(f"{path}: a feature store holds .h5 and .parquet parts only; move it away")


def _writer(format: Format) -> Any:
    from storage import hdf5, parquet

    return hdf5.write if format == "hdf5" else parquet.write
