"""The I3D network: Inception inflated to three dimensions. `i3d` runs it on frames, `i3d_sound` on spectrograms.

Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017, figure 3;
details as in the authors' TensorFlow network (kinetics-i3d), with its names of tensors. TensorFlow pads so that a
stride s leaves ⌈n / s⌉ positions, with the odd zero at the end, and its batch-norm adds 1e-3 to the variance. PyTorch's
own padding and 1e-5 would shift positions and change the numbers.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int, int]
"""Frames, rows, columns."""

MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
"""Output channels of b0, b1a, b1b, b2a, b2b, b3b of each block."""


def _same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Pad (B, C, frames, rows, columns) so that ⌈n / stride⌉ positions remain: p // 2 of p zeros in front."""
    pads: list[int] = []
    for n, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # F.pad counts from the last axis
        p = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [p // 2, p - p // 2]
    return F.pad(x, pads) if any(pads) else x


class _Unit(nn.Module):
    """Convolution, batch-norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels_in, channels_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(channels_out, eps=1e-3)
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_same(x, self.kernel, self.stride))))


class _Pool(nn.Module):
    """Max-pool. Its input comes from a ReLU, so zero padding never exceeds the true maximum."""

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_same(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """Four branches whose channels are concatenated."""

    def __init__(self, channels_in: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int) -> None:
        super().__init__()
        self.b0 = _Unit(channels_in, b0, 1)
        self.b1a, self.b1b = _Unit(channels_in, b1a, 1), _Unit(b1a, b1b, 3)
        self.b2a, self.b2b = _Unit(channels_in, b2a, 1), _Unit(b2a, b2b, 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Unit(channels_in, b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class I3DNetwork(nn.Sequential):
    """(B, in_channels, T, H, W) → Mixed_5c: (B, 1024, ⌈T/8⌉, ⌈H/32⌉, ⌈W/32⌉). The 400 classes are left out."""

    def __init__(self, in_channels: int = 3) -> None:
        """`in_channels`: 3 for RGB, 1 for spectrograms."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["Conv3d_1a_7x7"] = _Unit(in_channels, 64, 7, stride=2)
        layers["MaxPool3d_2a_3x3"] = _Pool((1, 3, 3), (1, 2, 2))
        layers["Conv3d_2b_1x1"] = _Unit(64, 64, 1)
        layers["Conv3d_2c_3x3"] = _Unit(64, 192, 3)
        layers["MaxPool3d_3a_3x3"] = _Pool((1, 3, 3), (1, 2, 2))
        channels = 192
        for block, branches in MIXED.items():
            if block == "4b":
                layers["MaxPool3d_4a_3x3"] = _Pool((3, 3, 3), (2, 2, 2))
            if block == "5b":
                layers["MaxPool3d_5a_2x2"] = _Pool((2, 2, 2), (2, 2, 2))
            layers[f"Mixed_{block}"] = _Mixed(channels, *branches)
            channels = branches[0] + branches[2] + branches[4] + branches[5]
        super().__init__(layers)


def averaged(mixed_5c: Tensor) -> Tensor:
    """(B, 1024, T, 7, 7) → (B, 1024): over windows of 2 × 7 × 7 one step apart, then over these in time."""
    return F.avg_pool3d(mixed_5c.float(), (2, 7, 7), stride=1).mean(dim=(2, 3, 4))
