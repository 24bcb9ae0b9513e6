"""What an extractor is. A new one is one file with a class like this and one line in `registry`."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.sound import SoundPlan
from reelmill.storage.errors import InputError
from reelmill.storage.spec import Spec


class Extractor(Protocol):
    """A network (or algorithm) that turns windows of frames, or of sound, into vectors, on one device."""

    name: str
    """`c3d`."""
    layers: tuple[str, ...]
    """Layers asked for; each has a store of its own."""
    batch_size: int
    """Windows a forward pass. The shape is always full: the caller pads the last batch, so that features do not depend
    on what else was in the batch."""

    @property
    def plan(self) -> FramePlan | SoundPlan:
        """What its windows hold."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """The spec of each layer, with everything that changes its numbers. `rows` is what the user wants where there
        is a choice: where a window is a whole segment, or the whole video, a row is that."""

    def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
        """(batch_size, *plan.shape(segment_ms)) of plan.dtype → {layer: (batch_size, dim) float32}."""


@runtime_checkable
class Overlapping(Protocol):
    """What an extractor has besides, if the caller can go on while it computes."""

    def start(self, windows: np.ndarray) -> Callable[[], Mapping[str, np.ndarray]]:
        """Begin what `forward` does. What is returned waits for the vectors; `windows` may be overwritten before."""


def check_windows(name: str, windows: np.ndarray, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise InputError unless the windows have the shape and the type that the extractor `name` needs."""
    if windows.shape != shape or windows.dtype != dtype:
        raise InputError(
            f"{name}: windows of shape {windows.shape} and type {windows.dtype}; needs {np.dtype(dtype)} {shape}, "
            "with the last batch filled up"
        )
