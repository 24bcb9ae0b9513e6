"""The network of `i3d_r50`.

Carreira and Zisserman, CVPR 2017, inflated into ResNet-50; the network is pytorchvideo's `i3d_r50` ("8x8": 8 frames at
a stride of 8 at 30 frames a second). Frames: shorter side 256, centre 224 × 224.
"""

import warnings
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.video.i3d_r50 import EXTRACTOR


class I3DR50(FrameNetwork):
    """Layer `pool5`: the last residual stage, averaged over time and space."""

    about = EXTRACTOR
    plan = FramePlan(
        Geometry(short_side=256, crop=(224, 224), centre="half_even"),  # its library crops with torchvision
        Windows("timed", length=8, step_ms=8 / 30 * 1000),
    )
    batch_sizes: ClassVar = {"cpu": 2, "cuda": 32}
    random_gains: ClassVar = {"norm_c.weight": 0.25}
    """With batch-norm as the identity, 16 residual branches add up, so each is scaled by 1/√16."""

    def _build(self) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fvcore, which it imports, uses torch.jit.script
            from pytorchvideo.models.hub import i3d_r50

        network = i3d_r50(pretrained=False)
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.stride = tuple(map(int, module.stride))  # NumPy integers, which torch.compile does not support
        return network

    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        x = pixels
        for block in self.network.blocks[:-1]:
            x = block(x)
        return {"pool5": x.float().mean(dim=(2, 3, 4))}  # B, 2048, 4, 7, 7; blocks[-1] is the head
