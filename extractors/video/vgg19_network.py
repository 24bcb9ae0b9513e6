"""The network of `vgg19`.

Simonyan and Zisserman, ICLR 2015, column E; the network is torchvision's, without dropout. Frames: shorter side 256,
centre 224 × 224, as torchvision's own transform for IMAGENET1K_V1.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.video.vgg19 import EXTRACTOR


class VGG19(FrameNetwork):
    """Layers `fc6` (classifier 0 and 1) and `fc7` (classifier 3 and 4)."""

    about = EXTRACTOR
    plan = FramePlan(
        Geometry(short_side=256, crop=(224, 224), centre="half_even"), Windows("timed", length=1, step_ms=1000.0)
    )
    memory_format = torch.channels_last
    batch_sizes: ClassVar = {"cpu": 4, "cuda": 64}

    def _build(self) -> nn.Module:
        from torchvision.models import vgg19

        return vgg19(weights=None)

    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        net = self.network
        x = net.avgpool(net.features(pixels[:, :, 0])).flatten(1)
        found = {"fc6": net.classifier[:2](x)}
        if "fc7" in self.layers:
            found["fc7"] = net.classifier[3:5](found["fc6"])  # 2 is dropout
        return found
