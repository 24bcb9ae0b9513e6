"""What a feature is. Two features are comparable exactly when their specs are equal.

The fingerprint, 8 hex digits of a hash over the whole spec, names the store: `c3d-fc6-1f0c22ab`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from reelmill.storage.errors import InputError

Rows: TypeAlias = Literal["segment", "window", "video", "post"]
"""What one row is: a segment (the mean of its windows), a window with its time, the whole video, or a post. For posts
`video_id` is the id of the user who wrote it, segment_index counts the posts of this user in order of time from 0,
start_ms is the time of the post in milliseconds since 1970 (UTC), and stop_ms is start_ms + 1."""


@dataclass(frozen=True, eq=False)
class Spec:
    """Everything that changes the numbers of a feature. Two specs are equal if their canonical JSON is."""

    extractor: str
    """Network or algorithm: `c3d`, `i3d`, `logmel`."""
    layer: str
    """Layer of the network whose output is stored: `fc6`."""
    dim: int
    """Dimension of a vector."""
    rows: Rows
    """What a row is. The row of a whole video has segment_index 0 and spans the video."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Segment length, window length, which windows of a segment, padding policy."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Resize and its filter, crop, colour order, mean, scale."""
    weights: str = "none"
    """Name of the checkpoint, or `random-<seed>`."""
    weights_sha256: str = ""
    """Hash of the checkpoint file; empty where there is none."""
    decoder: str = "none"
    """Decoder and version."""
    precision: str = "float32"
    """Arithmetic of the forward pass."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type in which the vectors are stored."""
    code_version: int = 1
    """Increased when a change of the code changes the numbers."""

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise InputError(f"spec of {self.extractor!r}: dim is {self.dim}, it must be at least 1")
        for part in (self.extractor, self.layer):
            if not re.fullmatch(r"\w{1,64}", part, re.ASCII):
                raise InputError(f"spec name {part!r}: extractor and layer are 1 to 64 letters, digits and '_'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces. Equal specs give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Inverse of `to_json`."""
        return cls(**json.loads(text))

    @property
    def fingerprint(self) -> str:
        """8 hex digits of the SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of the store, a safe folder name."""
        return f"{self.extractor}-{self.layer}-{self.fingerprint}"
