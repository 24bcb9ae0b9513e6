"""Reading a feature store: blocks of vectors, one block a video and spec, in sealed shards.

`open_store(root, name)` lists the shards once; `refresh()` lists them again. Where two shards hold the same video the
newer one counts. A shard of another spec in the folder is refused.
"""

import json
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from reelmill.storage import cache, parts
from reelmill.storage.blocks import Block
from reelmill.storage.errors import CorruptPart, InputError, MissingFeatures, SpecMismatch, StoreError
from reelmill.storage.formats import open_shard, read_shard
from reelmill.storage.place import AnyPath
from reelmill.storage.shards import KEPT_OPEN, SUFFIXES, Shard
from reelmill.storage.spec import Spec


class FeatureStore:
    """Read access to one store, as it was when it was opened or last refreshed. Open it with `open_store`.

    Row numbers, as `locate` gives them, keep their meaning as long as the object lives, also over `refresh`.
    """

    def __init__(self, folder: AnyPath, spec: Spec | None = None) -> None:
        self.folder = folder
        self.spec: Spec
        self.shards: list[Shard] = []
        """The shards of the folder, oldest first."""
        self._opened: list[Shard] = []  # every shard seen so far, in the order of row and block numbers
        self._number: dict[str, int] = {}  # name of a part -> its place in `_opened`
        self._home: dict[str, int] = {}  # video -> number of its block
        self._expected = spec
        self.refresh()

    def refresh(self) -> None:
        """List the shards again, to see what was committed since. Shards never change, so only new ones are opened."""
        while True:
            try:
                paths = parts.list_parts(self.folder, SUFFIXES)
                new = [open_shard(path) for path in paths if path.name not in self._number]
                break
            except FileNotFoundError:
                continue  # removed by compaction meanwhile
        if not paths and self._expected is None:
            raise InputError(f"{self.folder} holds no shard; extract features first (reelmill extract)")
        spec = self._expected or (self.spec if self._opened else self._named(new))
        for shard in new:
            if shard.spec != spec:
                raise SpecMismatch(f"{shard.path} has spec {shard.spec.name}, the store is {spec.name}; move it away")
        self.spec = spec
        self._number.update((shard.path.name, number) for number, shard in enumerate(new, len(self._opened)))
        self._opened += new
        self._list([self._opened[self._number[path.name]] for path in paths])

    def _named(self, shards: Sequence[Shard]) -> Spec:
        """The spec that the folder is named after, else that of the oldest shard."""
        return next((shard.spec for shard in shards if shard.spec.name == self.folder.name), shards[0].spec)

    def _list(self, shards: list[Shard]) -> None:
        """Set the shards of the folder. If shards were only added since the last call, only their indexes are read."""
        before, self.shards = self.shards, shards
        self._row_edges = np.cumsum([0, *(shard.rows for shard in self._opened)])
        self._block_edges = np.cumsum([0, *(len(shard.video_ids) for shard in self._opened)])
        if shards[: len(before)] == before:
            shards = shards[len(before) :]
        else:
            self._home = {}
        for shard in shards:  # a newer shard overwrites
            first = int(self._block_edges[self._number[shard.path.name]])
            self._home.update((video, first + place) for place, video in enumerate(shard.video_ids))
        self._forget()

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
        shard, place = self._shard_of(self._home[video_id])
        try:
            return shard.block(place)
        except FileNotFoundError:
            self.refresh()  # removed by compaction meanwhile
            return self.read(video_id)

    def provenance(self, videos: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Where the newest blocks of these videos came from, for those that are in the store; reads no rows."""
        found = {}
        for video in videos:
            if (block := self._home.get(video)) is not None:
                shard, place = self._shard_of(block)
                found[video] = json.loads(shard.index.provenance[place])
        return found

    def _shard_of(self, block: int) -> tuple[Shard, int]:
        """The shard that holds the block of this number, and its place there."""
        number = int(np.searchsorted(self._block_edges, block, side="right")) - 1
        return self._opened[number], block - int(self._block_edges[number])

    def locate(self, pairs: Iterable[tuple[str, int]]) -> np.ndarray:
        """Row numbers (n,) int64 of [(video_id, segment_index), …], for `take`; a whole video is (video_id, 0). Look
        them up once, take them often."""
        if self.spec.rows == "window":
            raise InputError(f"{self.spec.name} has one row a window, not a segment; use read(video_id)")
        pairs = list(pairs)
        if not pairs:
            return np.zeros(0, np.int64)
        videos, numbers = zip(*pairs, strict=True)
        segments = np.array(numbers, np.int64)
        blocks = np.fromiter(map(self._home.get, videos, repeat(-1)), np.int64, len(pairs))
        wanted = blocks << 32 | segments
        try:
            rows = np.searchsorted(self._keys[:-1], wanted)
        except FileNotFoundError as error:
            raise StoreError(f"a shard was compacted or moved away ({error}); open the store again") from error
        wrong = (self._keys[rows] != wanted) | (segments >> 31 != 0)
        if wrong.any():
            video, segment = pairs[int(np.argmax(wrong))]
            what = f"segment {segment} of video {video!r}" if video in self._home else f"video {video!r}"
            raise MissingFeatures(f"{what} is not in {self.spec.name}; extract it first")
        return rows

    def take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Vectors (n, dim) of row numbers (n,), in the given order, duplicates allowed; written to `out`, if given.

        Rows are joined as bytes: if they come from several shards, numpy would cost more per row, or copy twice.
        """
        rows = np.asarray(rows, dtype=np.int64)
        dtype = np.dtype(self.spec.dtype)
        shape, width = (len(rows), self.spec.dim), self.spec.dim * dtype.itemsize
        if out is not None and (out.shape, out.dtype, out.flags.c_contiguous) != (shape, dtype, True):
            raise InputError(
                f"out is {out.shape} {out.dtype}, expected a contiguous array of {shape} {self.spec.dtype}"
            )
        home = np.searchsorted(self._row_edges, rows, side="right") - 1
        starts = (rows - self._row_edges[home]) * width
        touched = set(home.tolist())
        if touched and (min(touched) < 0 or max(touched) >= len(self._opened)):
            raise InputError(f"row number out of range: the store has {self._row_edges[-1]} rows")
        if len(touched) > KEPT_OPEN:  # more files than may be open at the same time
            out, half = np.empty(shape, self.spec.dtype) if out is None else out, len(rows) // 2
            self.take(rows[:half], out[:half])
            self.take(rows[half:], out[half:])
            return out
        try:
            if self._large:
                for number in touched:
                    self._opened[number].read_ahead(starts[home == number] // width)
            memory = {number: self._opened[number].memory for number in touched}
            places = zip(home.tolist(), starts.tolist(), strict=True)
            pieces = [memory[number][start : start + width] for number, start in places]
        except FileNotFoundError as error:
            raise StoreError(f"a shard was compacted or moved away ({error}); open the store again") from error
        if out is None:
            return np.frombuffer(bytearray().join(pieces), self.spec.dtype).reshape(shape)
        copy = out.reshape(-1).view(np.uint8).data
        for place, piece in enumerate(pieces):
            copy[place * width : (place + 1) * width] = piece
        return out

    def rows(self, pairs: Iterable[tuple[str, int]]) -> np.ndarray:
        """Vectors (n, dim) of [(video_id, segment_index), …]; NaN where nothing of the segment could be decoded."""
        return self.take(self.locate(pairs))

    def view(self, pairs: Sequence[tuple[str, int]]) -> "View":
        """A map-style dataset over these segments for `torch.utils.data.DataLoader`."""
        return View(self, self.locate(pairs))

    def blocks(self, without: Container[str] = ()) -> Iterator[Block]:
        """The newest block of every video, shard by shard, except of the videos in `without`."""
        for video in sorted(self._home, key=self._home.__getitem__):
            if video not in without:
                yield self.read(video)

    def live(self, shard: Shard) -> list[int]:
        """Places of the blocks of a shard that are the newest of their videos."""
        first = int(self._block_edges[self._number[shard.path.name]])
        return [place for place, video in enumerate(shard.video_ids) if self._home.get(video) == first + place]

    def verify(self) -> list[CorruptPart]:
        """Check every shard of the folder against its checksum; one error for each damaged shard."""
        return verify_folder(self.folder)

    @cached_property
    def _keys(self) -> np.ndarray:
        """Block number · 2³² + segment index of every row, ascending, and −1 after the last."""
        keys = np.full(self._row_edges[-1] + 1, -1, np.int64)
        for number, shard in enumerate(self._opened):
            blocks = self._block_edges[number] + np.arange(len(shard.video_ids))
            start, stop = self._row_edges[number : number + 2]
            keys[start:stop] = np.repeat(blocks, shard.index.row_stop - shard.index.row_start) << 32
            keys[start:stop] |= shard.column("segment_index")
        return keys

    @cached_property
    def _large(self) -> bool:
        """Whether the store does not fit into memory: then reads are announced, or each page would wait for the one
        before."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return int(self._row_edges[-1]) * self.spec.dim * np.dtype(self.spec.dtype).itemsize > memory // 2

    def _forget(self) -> None:
        for derived in ("_keys", "_large"):
            self.__dict__.pop(derived, None)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_keys"}


class View:
    """Map-style dataset over rows of a store: `len`, one item (dim,), or many at once, which a DataLoader prefers."""

    def __init__(self, store: FeatureStore, rows: np.ndarray) -> None:
        self.store, self.row_numbers = store, rows

    def __len__(self) -> int:
        return len(self.row_numbers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.store.take(self.row_numbers[[index]])[0]

    def __getitems__(self, indices: list[int]) -> list[np.ndarray]:
        return list(self.store.take(self.row_numbers[indices]))


def verify_folder(folder: AnyPath) -> list[CorruptPart]:
    """Check the shards of a folder against their checksums; one error for each damaged shard."""
    wrong = []
    for path in parts.list_parts(folder, SUFFIXES):
        try:
            cache.drop(path)  # check the file in the store, not a copy
            read_shard(path).verify()
        except CorruptPart as error:
            wrong.append(error)
        except FileNotFoundError:
            continue  # removed by compaction meanwhile
    return wrong
