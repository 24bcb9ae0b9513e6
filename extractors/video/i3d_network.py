"""The network of `i3d`: frames with shorter side 256, centre 224 × 224 and values −1 … 1, through `core.inception`."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.inception import I3DNetwork, averaged
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.video.i3d import EXTRACTOR


class I3D(FrameNetwork):
    """Layer `mixed_5c`: the last block, averaged over windows of 2 × 7 × 7 one step apart, then over these in time.

    With 16 frames Mixed_5c has 2 × 7 × 7 positions: one window, the plain mean. From 17 frames on, inner positions
    are in two windows and those at both ends in one. Fewer than 9 frames fill no window.
    """

    about = EXTRACTOR
    plan = FramePlan(Geometry(short_side=256, crop=(224, 224)), Windows("timed", length=16, step_ms=40.0))
    batch_sizes: ClassVar = {"cpu": 2, "cuda": 32}

    def _build(self) -> nn.Module:
        return I3DNetwork()

    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        return {"mixed_5c": averaged(self.network(pixels))}  # of B, 1024, frames / 8, 7, 7
