"""What an extractor is. A new one is one file with a class like this and one line in `registry`."""

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from extractors.frames import Geometry, Windows
from storage.spec import Spec


class Extractor(Protocol):
    """A network (or algorithm) that turns windows of frames into vectors, on one device."""

    name: str
    """`c3d`."""
    geometry: Geometry
    """How each frame is scaled and cut."""
    windows: Windows
    """Which frames form its windows."""
    layers: tuple[str, ...]
    """Layers asked for; each has a store of its own."""
    batch_size: int
    """Windows a forward pass. The shape is always full: the caller pads the last batch, so that features do not depend
    on what else was in the batch."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """The spec of each layer, with everything that changes its numbers."""

    def forward(self, windows: np.ndarray) -> Mapping[str, np.ndarray]:
        """(batch_size, length, height, width, 3) uint8 RGB → {layer: (batch_size, dim) float32}."""
