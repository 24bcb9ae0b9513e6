"""What the formats of a shard have in common: columns, index, checksum, and how they are checked.

A shard is one sealed file. Its checksum covers the spec, every vector and column, the index and the provenance, by the
same rule in each format: shards of the same blocks in the same order have the same checksum.
"""

import contextlib
import errno
import hashlib
import json
import os
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from reelmill.storage.blocks import COLUMNS, Block
from reelmill.storage.disk import named
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.place import AnyPath
from reelmill.storage.spec import Spec

Format = Literal["hdf5", "parquet"]
SUFFIX: dict[Format, str] = {"hdf5": ".h5", "parquet": ".parquet"}
SUFFIXES = tuple(SUFFIX.values())
"""Of all formats."""
_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
KEPT_OPEN = 1 << 14 if _FILES == resource.RLIM_INFINITY else min(1 << 14, _FILES // 3)
"""Shards mapped into memory at the same time: each costs a file descriptor (`ulimit -n`)."""
MARK, VERSION = "reelmill-features", 1
"""Format mark and version in every shard."""


@dataclass(frozen=True)
class Index:
    """Which rows of a shard belong to which video, and the provenance of each block."""

    video_id: list[str]
    row_start: np.ndarray
    """(videos,) int64: block b is rows row_start[b] to row_stop[b]."""
    row_stop: np.ndarray
    """(videos,) int64"""
    provenance: list[str]
    """(videos,) JSON"""

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "Index":
        """The index of blocks written one after another."""
        stops = np.cumsum([len(b) for b in blocks], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)[: len(stops)]
        texts = [json.dumps(dict(b.provenance), sort_keys=True) for b in blocks]
        return cls([b.video_id for b in blocks], starts, stops, texts)

    def check(self, rows: int) -> None:
        """Raise ValueError unless the blocks are consecutive and fill `rows` rows."""
        edges = np.concatenate([[0], self.row_stop])
        counts = {len(self.video_id), len(self.row_start), len(self.row_stop), len(self.provenance)}
        if len(counts) > 1 or (self.row_start != edges[:-1]).any() or (np.diff(edges) < 0).any() or edges[-1] != rows:
            raise ValueError(f"its index does not describe its {rows} rows")


def columns_of(blocks: Sequence[Block]) -> dict[str, np.ndarray]:
    """The columns beside the vectors, (rows,) each."""
    return {
        name: np.concatenate([np.zeros(0, dtype), *(getattr(b, name) for b in blocks)]).astype(dtype)
        for name, dtype in COLUMNS.items()
    }


def checksum(spec: Spec, vectors: Iterator[np.ndarray], columns: dict[str, np.ndarray], index: Index) -> str:
    """SHA-256, 64 hex digits, over everything in a shard. `vectors`: (n, dim) arrays in row order, cut anywhere."""
    sha = hashlib.sha256(spec.to_json().encode())
    for array in chain(vectors, (columns[name] for name in COLUMNS), (index.row_start, index.row_stop)):
        if array.size:
            sha.update(np.ascontiguousarray(array).view(np.uint8).data)
    for texts in (index.video_id, index.provenance):
        sha.update("\0".join(texts).encode())
    return sha.hexdigest()


def description(spec: Spec, sha256: str) -> dict[str, str | int]:
    """The metadata of a shard."""
    return {
        "format": MARK,
        "version": VERSION,
        "spec": spec.to_json(),
        "fingerprint": spec.fingerprint,
        "sha256": sha256,
    }


class Shard(ABC):
    """One sealed file. Holds its index and no file handle, so that it can be forked, pickled and kept by thousands."""

    spec: Spec
    sha256: str
    index: Index
    rows: int

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        with readable(path):
            self._open()
            self.index.check(self.rows)

    @abstractmethod
    def _open(self) -> None:
        """Read spec, sha256, index and rows; any exception that `readable` catches means a damaged file."""

    def _describe(self, facts: Mapping[str, Any]) -> None:
        """Set spec and checksum from the metadata that was read, see `description`."""
        if facts["format"] != MARK or int(facts["version"]) != VERSION:
            raise ValueError(f"format {facts['format']!r} version {facts['version']}, expected {MARK!r} {VERSION}")
        self.spec, self.sha256 = Spec.from_json(facts["spec"]), str(facts["sha256"])
        if facts["fingerprint"] != self.spec.fingerprint:
            raise ValueError("its spec does not match its fingerprint")

    @abstractmethod
    def column(self, name: str) -> np.ndarray:
        """One of COLUMNS, (rows,)."""

    @property
    @abstractmethod
    def memory(self) -> Any:
        """The bytes of all vectors, row after row; a slice gives the bytes of rows."""

    @abstractmethod
    def slice(self, start: int, stop: int) -> np.ndarray:
        """Vectors (stop − start, dim) of consecutive rows."""

    @abstractmethod
    def read_ahead(self, rows: np.ndarray) -> None:
        """Announce that these rows (n,) will be read next and are probably not in memory."""

    @property
    def video_ids(self) -> list[str]:
        """Videos of this shard, in row order."""
        return self.index.video_id

    @property
    def mask(self) -> np.ndarray:
        """(rows,) uint8"""
        return self.column("mask")

    def block(self, place: int) -> Block:
        """The block at this place of the index; its arrays are copies."""
        start, stop = int(self.index.row_start[place]), int(self.index.row_stop[place])
        features = np.array(self.slice(start, stop))  # first: this fetches the whole object
        columns = {name: np.array(self.column(name)[start:stop]) for name in COLUMNS}
        provenance: dict[str, Any] = json.loads(self.index.provenance[place])
        return Block(self.video_ids[place], features, provenance=provenance, **columns)

    def verify(self) -> None:
        """Raise CorruptPart if the content does not match the checksum written with it."""
        with readable(self.path):
            vectors = (self.slice(start, min(start + 1024, self.rows)) for start in range(0, self.rows, 1024))
            columns = {name: self.column(name) for name in COLUMNS}
            if checksum(self.spec, vectors, columns, self.index) != self.sha256:
                some = ", ".join(self.video_ids[:3]) + (", …" if len(self.video_ids) > 3 else "")
                raise ValueError(f"its {len(self.video_ids)} videos ({some}) do not match its checksum")


@contextlib.contextmanager
def readable(path: AnyPath) -> Iterator[None]:
    """Turn what libraries raise for a damaged file into CorruptPart; errors of the system (no such file, no permission,
    too many open files) pass, with the name of the file."""
    try:
        with named(path):
            yield
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, InputError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if not path.exists():  # removed by compaction while a library opened it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        reason = f"{type(error).__name__}: {error}"
        raise CorruptPart(f"{path} is not a complete feature shard ({reason}); move it away, extract again") from error
