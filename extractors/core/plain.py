"""Base class of extractors without a network. No torch."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np

from reelmill.extractors.core.base import check_windows
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.settings import Compute, WindowSettings
from reelmill.extractors.core.sound import SoundPlan
from reelmill.storage.spec import Spec


class PlainExtractor(ABC):
    """An extractor with one layer and no network. Windows are computed one by one, so a vector depends neither on the
    other windows of its batch nor on the size of the batch."""

    about: ClassVar[Descriptor]
    plan: FramePlan | SoundPlan
    dtype: ClassVar[Literal["float32", "float16"]] = "float32"
    """Type in which the vectors are stored."""
    windows_a_batch: ClassVar[int] = 1
    """Default batch size."""
    code_version: ClassVar[int] = 2
    """Increased when a change of the code changes the numbers."""

    def __init__(self, settings: WindowSettings, compute: Compute) -> None:
        """`compute` is not used: this runs on the CPU, in float32. Raises InputError for an unknown layer."""
        self.name = self.about.name
        self.layers = self.about.chosen(settings.layers)
        self.batch_size = settings.batch_size or self.windows_a_batch

    @abstractmethod
    def _vector(self, window: np.ndarray) -> np.ndarray:
        """(*plan.shape(segment_ms)) → (dim,) float32."""

    @abstractmethod
    def _preprocessing(self) -> dict[str, Any]:
        """Everything that is done to the values of a window, for the spec."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """{layer: its spec}. `decoder`: name and version."""
        return {
            layer: Spec(
                extractor=self.name,
                layer=layer,
                dim=self.about.layers[layer],
                rows=self.plan.rows(rows),
                sampling=self.plan.describe(segment_ms),
                preprocessing=self._preprocessing(),
                decoder=decoder,
                dtype=self.dtype,
                code_version=self.code_version,
            )
            for layer in self.layers
        }

    def forward(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """(batch_size, *plan.shape(segment_ms)) of plan.dtype → {layer: (batch_size, dim) float32}.

        Raises InputError for another shape or type.
        """
        shape = self.plan.shape()
        if isinstance(self.plan, SoundPlan) and self.plan.parts is None:
            shape = windows.shape[-1:]  # a segment of sound may have any length
        check_windows(self.name, windows, (self.batch_size, *shape), self.plan.dtype)
        (layer,) = self.layers
        return {layer: np.stack([self._vector(window) for window in windows])}
