"""Vectors of videos out of a feature store: which rows are usable, their means, and a hash of all that was read."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from reelmill.storage import Block, FeatureStore
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA

CHUNK = 4096
"""Vectors that are read at once: 64 MiB of 4096 float32."""


def usable(block: Block) -> np.ndarray:
    """(rows,) bool: decoded and finite."""
    return (block.mask > NO_DATA) & np.isfinite(block.features).all(axis=1)


def blocks(store: FeatureStore, videos: Sequence[str]) -> Iterator[tuple[int, Block]]:
    """Place in `videos` and block of each video that the store has. A block is a view of the memory map, so that each
    is read once."""
    for place, video in enumerate(videos):
        if video in store:
            yield place, store.read(video)


class VectorDigest:
    """A running hash of vectors, and whether all of them are one and the same."""

    def __init__(self, dim: int) -> None:
        self._sha = hashlib.sha256()
        self._low, self._high = np.full(dim, np.inf), np.full(dim, -np.inf)

    def add(self, vectors: np.ndarray) -> None:
        """Vectors (n, dim) in the order in which they are read; n may be 0."""
        if len(vectors):
            self._sha.update(np.ascontiguousarray(vectors).view(np.uint8).data)
            self._low = np.minimum(self._low, vectors.min(axis=0))
            self._high = np.maximum(self._high, vectors.max(axis=0))

    @property
    def constant(self) -> bool:
        """Whether every vector so far is the same."""
        return bool((self._low == self._high).all())

    def digest(self) -> bytes:
        """The hash."""
        return self._sha.digest()


def fingerprint(
    store: FeatureStore, names: Sequence[str], arrays: Sequence[np.ndarray], vectors: bytes, *, lengths: bool = True
) -> str:
    """64 hex digits: hash of the store's spec, names, arrays of integers and the digest of the vectors. `lengths`: hash
    the length of each array before it; the names of runs on segments are from before this was so."""
    sha = hashlib.sha256(store.spec.to_json().encode())
    sha.update("\0".join(names).encode())
    for array in arrays:
        size = len(array).to_bytes(8, "little") if lengths else b""
        sha.update(size + np.ascontiguousarray(array, np.int64).tobytes())
    sha.update(vectors)
    return sha.hexdigest()


def mean_vectors(store: FeatureStore, videos: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """(videos, dim) float32, the mean over the usable rows of each video, NaN where it has none; and counts of what is
    missing. Raises InputError if the store has rows of posts, or no
    usable row of any of the videos."""
    if store.spec.rows == "post":
        raise InputError(f"store {store.spec.name} has one row a post of a user; this model needs rows of videos")
    out = np.full((len(videos), store.spec.dim), np.nan, np.float32)
    found = empty = not_finite = 0
    for place, block in blocks(store, videos):
        valid, kept = block.mask > NO_DATA, usable(block)
        found, empty, not_finite = found + 1, empty + int((~valid).sum()), not_finite + int((valid & ~kept).sum())
        if kept.any():
            out[place] = block.features[kept].mean(axis=0, dtype=np.float64)
    without = int(np.isnan(out[:, 0]).sum())
    if without == len(videos):
        raise InputError(f"{store.spec.name} holds no usable row of any item with events; extract them first")
    return out, {
        "items_without": without,
        "items_not_extracted": len(videos) - found,
        "rows_without_data": empty,
        "rows_not_finite": not_finite,
    }


def means(store: FeatureStore, videos: Sequence[str]) -> np.ndarray:
    """The same without counts, also where the store has nothing of these videos."""
    out = np.full((len(videos), store.spec.dim), np.nan, np.float32)
    for place, block in blocks(store, videos):
        if (kept := usable(block)).any():
            out[place] = block.features[kept].mean(axis=0, dtype=np.float64)
    return out
