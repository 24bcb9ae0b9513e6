"""A block: the features of one video under one spec. What extractors produce and what stores keep."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reelmill.storage.errors import InputError
from reelmill.storage.spec import Spec

NO_DATA, VALID, PADDED = 0, 1, 2
"""Values of a mask. NO_DATA: nothing could be decoded, the row is NaN. VALID: full windows. PADDED: a picture was
repeated (too few frames, one that cannot be decoded, or nothing but the one that is held from before the segment), or
part of the sound is missing."""

COLUMNS: dict[str, type[np.generic]] = {
    "mask": np.uint8,
    "segment_index": np.int32,
    "start_ms": np.int64,
    "stop_ms": np.int64,
}
"""The columns beside the vectors, and their types in a shard."""


@dataclass(frozen=True, eq=False)
class Block:
    """The features of one video under one spec. `rows` is the number of segments or windows (0 is allowed), or 1 for
    the whole video."""

    video_id: str
    features: np.ndarray
    """(rows, dim), the spec's dtype; NaN where `mask` is NO_DATA."""
    mask: np.ndarray
    """(rows,) uint8: NO_DATA, VALID or PADDED. Usable rows are `mask > 0`."""
    segment_index: np.ndarray
    """(rows,) int32, ascending; each at most once in a store of segments; 0 for a whole video."""
    start_ms: np.ndarray
    """(rows,) int64, start of the segment, or time of the window's first frame; 0 for a whole video."""
    stop_ms: np.ndarray
    """(rows,) int64, end of the segment, or time after the window's last frame, or the duration of the video."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from: media hash, frames decoded, decoding errors, program version, time. Plain JSON values."""

    def __len__(self) -> int:
        return len(self.features)

    def check(self, spec: Spec) -> None:
        """Raise InputError if the block breaks a rule of its spec."""
        rows, name = len(self.features), f"block {self.video_id!r}"
        if not self.video_id or "\0" in self.video_id or not _encodes(self.video_id):
            raise InputError(f"{name}: a video id must be valid UTF-8 text, not empty and without NUL")
        if self.features.shape != (rows, spec.dim):
            raise InputError(f"{name}: features are {self.features.shape}, the spec says (rows, {spec.dim})")
        for column in COLUMNS:
            if (shape := getattr(self, column).shape) != (rows,):
                raise InputError(f"{name}: {column} is {shape}, expected ({rows},)")
        if not np.isin(self.mask, (NO_DATA, VALID, PADDED)).all():
            raise InputError(f"{name}: mask holds values other than {NO_DATA}, {VALID} and {PADDED}")
        if spec.rows == "video" and self.segment_index.tolist() != [0]:
            raise InputError(f"{name}: a store of whole videos has one row a video, with segment_index 0")
        step = np.diff(self.segment_index)
        if (step < (0 if spec.rows == "window" else 1)).any() or (rows and self.segment_index[0] < 0):
            raise InputError(f"{name}: segment_index must ascend from 0 or more, one row a segment")
        if (self.stop_ms < self.start_ms).any():
            raise InputError(f"{name}: a row stops before it starts")
        with np.errstate(over="ignore"):
            stored = self.features.astype(spec.dtype, copy=False)
        valid = self.mask > NO_DATA
        if not np.isfinite(stored[valid]).all():
            raise InputError(f"{name}: a valid row holds NaN or infinity as {spec.dtype}; mask it instead")
        if not np.isnan(stored[~valid]).all():
            raise InputError(f"{name}: a row without data (mask {NO_DATA}) must be NaN, so that nothing uses it")
        try:
            json.dumps(dict(self.provenance), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name}: provenance must be plain JSON ({error})") from error

    def packed(self, spec: Spec) -> "Block":
        """A checked copy in the types of a shard; shares no memory with this block."""
        self.check(spec)
        features = np.array(self.features, spec.dtype, order="C")
        columns = {name: np.array(getattr(self, name), dtype) for name, dtype in COLUMNS.items()}
        return Block(self.video_id, features, **columns, provenance=dict(self.provenance))


def _encodes(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
