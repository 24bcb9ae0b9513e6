"""A new extractor, as anybody would add one: this file, and one line in the registry. The mean colour of each frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.plain import PlainExtractor
from reelmill.extractors.core.settings import WindowSettings


@dataclass(frozen=True, kw_only=True)
class ColourSettings(WindowSettings):
    """What a user can choose of it."""

    gain: float = 1.0
    """Times that the colours are taken."""


EXTRACTOR = Descriptor(
    name="colour",
    input="frames",
    layers={"mean": 3},
    default_layers=("mean",),
    settings=ColourSettings,
    implementation="tests.extractors.toy:Colour",
    paper="None: a toy",
)


class Colour(PlainExtractor):
    """Layer `mean`: red, green and blue."""

    about = EXTRACTOR
    plan = FramePlan(Geometry(scale_to=(32, 32), crop=(32, 32)), Windows("consecutive", length=1))

    def __init__(self, settings: ColourSettings, compute: Any) -> None:
        super().__init__(settings, compute)
        self.gain = settings.gain

    def _vector(self, window: np.ndarray) -> np.ndarray:
        return (self.gain * window.mean(axis=(0, 1, 2))).astype(np.float32)

    def _preprocessing(self) -> dict[str, Any]:
        return {**self.plan.geometry.describe(), "gain": self.gain}
