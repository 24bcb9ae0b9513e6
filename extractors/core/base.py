"""The protocol of extractors of frames and sound."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.sound import SoundPlan
from reelmill.storage.errors import InputError
from reelmill.storage.spec import Spec


class Extractor(Protocol):
    """A network or algorithm that turns windows of frames or sound into vectors, on one device."""

    name: str
    """`c3d`."""
    layers: tuple[str, ...]
    """Layers to compute; each is written to its own store."""
    batch_size: int
    """Windows in one forward pass. Every batch is full: the caller pads the last one, so that features do not depend on
    what else is in the batch."""

    @property
    def plan(self) -> FramePlan | SoundPlan:
        """How frames or sound are cut into windows."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """{layer: its spec}, with everything that changes its numbers. `rows` is the user's choice for extractors of
        frames; an extractor of sound has one row for each window, whatever is chosen. `decoder`: name and version."""

    def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
        """(batch_size, *plan.shape(segment_ms)) of plan.dtype → {layer: (batch_size, dim) float32}."""


@runtime_checkable
class Overlapping(Protocol):
    """An extractor that computes while the caller goes on."""

    def start(self, windows: np.ndarray) -> Callable[[], Mapping[str, np.ndarray]]:
        """Start a forward pass; `windows` may be overwritten at once. The function that is returned waits for the
        vectors."""


def check_windows(name: str, windows: np.ndarray, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise InputError unless the windows have the shape and type that the extractor `name` needs."""
    if windows.shape != shape or windows.dtype != dtype:
        raise InputError(
            f"{name}: windows of shape {windows.shape} and type {windows.dtype}; needs {np.dtype(dtype)} {shape}, "
            "with the last batch padded"
        )
