"""The HDF5 format of a shard: contiguous arrays, sealed once, read through a memory map.

    /features       (rows, dim) float32 or float16, contiguous and uncompressed
    /mask           (rows,) uint8        0 no data, 1 valid, 2 padded
    /segment_index  (rows,) int32
    /start_ms       (rows,) int64
    /stop_ms        (rows,) int64
    /video_id       (videos,) UTF-8      block b is rows row_start[b] to row_stop[b]
    /row_start      (videos,) int64
    /row_stop       (videos,) int64
    /provenance     (videos,) JSON
    attributes      format "reelmill-features", version 1, spec (JSON), fingerprint, sha256

Random rows through a map at the array's offset in the file are as fast as numpy's own memmap, about 4 times faster than
h5py's fancy index on the same array and 40 times faster than on chunks; and a map survives a fork.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from storage.errors import CorruptPart
from storage.features import Block
from storage.spec import Spec

ROW_ARRAYS = ("mask", "segment_index", "start_ms", "stop_ms")
BLOCK_ARRAYS = ("row_start", "row_stop")


def write(path: Path, spec: Spec, blocks: list[Block]) -> None:
    """Write one shard; blocks keep their order, rows of a video are adjacent."""
    sizes = [len(b) for b in blocks]
    stops = np.cumsum(sizes, dtype=np.int64)
    columns: dict[str, np.ndarray] = {
        "mask": np.concatenate([b.mask for b in blocks]).astype(np.uint8),
        "segment_index": np.concatenate([b.segment_index for b in blocks]).astype(np.int32),
        "start_ms": np.concatenate([b.start_ms for b in blocks]).astype(np.int64),
        "stop_ms": np.concatenate([b.stop_ms for b in blocks]).astype(np.int64),
        "row_start": stops - sizes,
        "row_stop": stops,
    }
    texts = {
        "video_id": [b.video_id for b in blocks],
        "provenance": [json.dumps(dict(b.provenance), sort_keys=True) for b in blocks],
    }
    digest = _Digest(spec)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        features = file.create_dataset("features", (int(stops[-1]), spec.dim), spec.dtype)
        row = 0
        for block in blocks:
            values = np.ascontiguousarray(block.features, spec.dtype)
            if len(values):
                features[row : row + len(values)] = values
            digest.update(values)
            row += len(values)
        for name, column in columns.items():
            file.create_dataset(name, data=column)
        for name, text in texts.items():
            file.create_dataset(name, data=text, dtype=h5py.string_dtype())
        file.attrs.update({"format": "reelmill-features", "version": 1, "spec": spec.to_json()})
        file.attrs["fingerprint"] = spec.fingerprint
        file.attrs["sha256"] = digest.finish(columns, texts)


class Hdf5Shard:
    """A sealed HDF5 shard. Holds a read-only map of its vectors and no file handle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                self._load(file)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise CorruptPart(
                f"{path} is not a complete feature shard ({error}); move it away and extract again"
            ) from error

    def _load(self, file: h5py.File) -> None:
        if file.attrs["format"] != "reelmill-features" or file.attrs["version"] != 1:
            raise ValueError(f"format {file.attrs['format']!r} version {file.attrs['version']}")
        self.spec = Spec.from_json(file.attrs["spec"])
        self.checksum = str(file.attrs["sha256"])
        self.video_ids: list[str] = file["video_id"].asstr()[:].tolist()
        self.provenance: list[dict[str, Any]] = [json.loads(t) for t in file["provenance"].asstr()[:]]
        self.mask, self.segment_index, self.start_ms, self.stop_ms = (file[n][:] for n in ROW_ARRAYS)
        self.row_start, self.row_stop = (file[n][:] for n in BLOCK_ARRAYS)
        features = file["features"]
        if features.shape != (len(self.mask), self.spec.dim) or str(features.dtype) != self.spec.dtype:
            raise ValueError(
                f"features are {features.shape} {features.dtype}, the spec says {self.spec.dim} {self.spec.dtype}"
            )
        self.shape: tuple[int, int] = features.shape
        offset = features.id.get_offset()
        if not self.shape[0]:
            self._map: np.ndarray = np.empty(self.shape, self.spec.dtype)
        elif offset is None:
            raise ValueError("features are not contiguous")
        else:
            self._map = np.memmap(self.path, self.spec.dtype, "r", offset, self.shape)

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        np.take(self._map, rows, axis=0, out=out, mode="clip")  # "clip" skips a copy; the store checked the range

    def slice(self, start: int, stop: int) -> np.ndarray:
        return np.array(self._map[start:stop])

    def verify(self) -> None:
        digest = _Digest(self.spec)
        for start in range(0, self.shape[0], 4096):
            digest.update(self._map[start : start + 4096])
        columns = {n: getattr(self, n) for n in (*ROW_ARRAYS, *BLOCK_ARRAYS)}
        with h5py.File(self.path, "r") as file:
            texts = {n: file[n].asstr()[:].tolist() for n in ("video_id", "provenance")}
        if digest.finish(columns, texts) != self.checksum:
            raise CorruptPart(f"{self.path}: content does not match its checksum; move it away and extract again")


class _Digest:
    """SHA-256 over everything in a shard: spec, vectors in row order, columns, texts."""

    def __init__(self, spec: Spec) -> None:
        import hashlib

        self._sha = hashlib.sha256(spec.to_json().encode())

    def update(self, values: np.ndarray) -> None:
        if values.size:
            self._sha.update(np.ascontiguousarray(values).view(np.uint8).data)

    def finish(self, columns: dict[str, np.ndarray], texts: dict[str, list[str]]) -> str:
        for name in (*ROW_ARRAYS, *BLOCK_ARRAYS):
            self.update(columns[name])
        for name in ("video_id", "provenance"):
            self._sha.update("\0".join(texts[name]).encode())
        return self._sha.hexdigest()
