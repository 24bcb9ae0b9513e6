"""Imports vectors of whole videos that somebody else computed into a feature store, one row a video.

    X.npy        (videos, dim); ids are an argument, else the number of a row is the id
    X.npz        arrays `vectors` (videos, dim) and `video_id` (videos,)
    X.parquet    columns `video_id` and `vector`, a list of dim numbers

The hash of the file is in the spec, so another file makes another store.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.pipeline.sources.bounds import check_rows
from reelmill.storage import Block, FeatureWriter, Spec
from reelmill.storage.arrays import load_array, load_arrays
from reelmill.storage.blocks import NO_DATA, VALID
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

SUFFIXES = (".npy", ".npz", ".parquet")


@dataclass(frozen=True)
class VectorCounts:
    """What was imported."""

    store: str
    """Name of the store."""
    videos: int
    """Vectors written."""
    empty: int
    """Of these, vectors with NaN or infinity: rows without data."""


def write_vectors(
    root: AnyRoot, path: str | Path, name: str, layer: str = "given", ids: Sequence[str] | None = None
) -> VectorCounts:
    """Write the vectors of a file into the store `name`-`layer`-…; blocks that are there already are replaced.

    `ids`: the videos of the rows, for an `.npy`. Raises InputError if the file cannot be read, or vectors and ids do
    not match."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: vectors must be in a file that ends in one of {', '.join(SUFFIXES)}")
    if ids is not None and path.suffix != ".npy":
        raise InputError(f"{path} names its videos itself; leave ids out")
    if not path.is_file():
        raise InputError(f"{path} cannot be read: it is not a file; check the path")
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        vectors, found = _read(path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as {path.suffix}: {error}") from error
    videos = found if ids is None else list(ids)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or len(videos) != len(vectors) or not vectors.size:
        raise InputError(
            f"{path} holds {vectors.dtype} {vectors.shape} for {len(videos)} videos; needed are numbers (videos, dim)"
        )
    if len(set(videos)) < len(videos):
        twice = next(video for n, video in enumerate(videos) if video in videos[:n])
        raise InputError(f"{path}: video {twice!r} is there twice; keep one")
    half = vectors.dtype == np.float16
    spec = Spec(name, layer, vectors.shape[1], "video", weights=path.name, weights_sha256=content,
                dtype="float16" if half else "float32")  # fmt: skip
    vectors = vectors.astype(spec.dtype, copy=False)
    valid = np.isfinite(vectors).all(axis=1)
    place = np.zeros(1, np.int64)
    with FeatureWriter(root, spec) as writer:
        for video, vector, good in zip(videos, vectors, valid.tolist(), strict=True):
            row = vector[None] if good else np.full((1, spec.dim), np.nan, vectors.dtype)
            mask = np.array([VALID if good else NO_DATA], np.uint8)
            writer.add(Block(video, row, mask, place, place, place, {"file": path.name}))
    return VectorCounts(spec.name, len(videos), int((~valid).sum()))


def _read(path: Path) -> tuple[np.ndarray, list[str]]:
    """Vectors (videos, dim) and the ids of their videos."""
    if path.suffix == ".parquet":
        check_rows(pq.read_metadata(path).num_rows, path)
        table = pq.read_table(path, columns=["video_id", "vector"])
        lists = table["vector"].combine_chunks()
        sizes = pc.unique(pc.list_value_length(lists)).to_pylist()
        if len(sizes) != 1 or sizes == [None]:
            raise ValueError(f"column vector holds lists of {sizes} numbers; all must be equally long")
        flat = np.asarray(lists.flatten())  # null becomes NaN
        return flat.reshape(len(lists), -1), table["video_id"].cast(pa.string()).to_pylist()
    if path.suffix == ".npy":
        vectors = load_array(path)
        return vectors, [str(row) for row in range(len(vectors) if vectors.ndim else 0)]
    arrays = load_arrays(path)
    return arrays["vectors"], arrays["video_id"].astype(str).tolist()
