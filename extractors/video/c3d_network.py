"""The network of `c3d`.

Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015, figure 3; details as in the
authors' Caffe network (C3D v1.0, sports1m). Frames are scaled to 171 × 128 without keeping the aspect, cut to
112 × 112, not divided; fc6 and fc7 are taken after ReLU.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.core.settings import Compute
from reelmill.extractors.video.c3d import EXTRACTOR, C3DSettings
from reelmill.storage.arrays import load_array
from reelmill.storage.errors import InputError

VOLUME = (3, 16, 128, 171)
"""Channels (BGR), frames, rows, columns of the published mean, `sport1m_train16_128_mean`."""


def _conv(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, kernel_size=3, padding=1)


class C3DNetwork(nn.Module):
    """Eight convolutions and two linear layers, without fc8 (the 487 classes), because no layer after fc7 is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = _conv(3, 64)
        self.conv2a = _conv(64, 128)
        self.conv3a, self.conv3b = _conv(128, 256), _conv(256, 256)
        self.conv4a, self.conv4b = _conv(256, 512), _conv(512, 512)
        self.conv5a, self.conv5b = _conv(512, 512), _conv(512, 512)
        self.fc6, self.fc7 = nn.Linear(8192, 4096), nn.Linear(4096, 4096)

    def forward(self, x: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """(B, 3, 16, 112, 112) → {layer: (B, dim)} of these layers and earlier ones; later ones are not computed."""
        x = F.max_pool3d(F.relu(self.conv1a(x)), (1, 2, 2))  # 64, 16, 56, 56: the first pool keeps time
        x = F.max_pool3d(F.relu(self.conv2a(x)), 2)  # 128, 8, 28, 28
        x = F.max_pool3d(F.relu(self.conv3b(F.relu(self.conv3a(x)))), 2)  # 256, 4, 14, 14
        x = F.max_pool3d(F.relu(self.conv4b(F.relu(self.conv4a(x)))), 2)  # 512, 2, 7, 7
        x = F.relu(self.conv5b(F.relu(self.conv5a(x))))
        found = {"conv5": x.float().mean(dim=(2, 3, 4))}
        if "fc6" in layers or "fc7" in layers:
            # Caffe pools 7 → 4 with windows clipped at the right and bottom; the padding of most ports would shift them
            x = F.max_pool3d(x, 2, ceil_mode=True)  # 512, 1, 4, 4
            found["fc6"] = F.relu(self.fc6(x.flatten(1)))
        if "fc7" in layers:
            found["fc7"] = F.relu(self.fc7(found["fc6"]))
        return found


class C3D(FrameNetwork):
    """Layers `fc6`, `fc7`, and `conv5`: conv5b after ReLU, before pool5, averaged over time and space."""

    about = EXTRACTOR
    plan = FramePlan(Geometry(scale_to=(128, 171), crop=(112, 112)), Windows("consecutive", length=16))
    batch_sizes: ClassVar = {"cpu": 4, "cuda": 32}
    random_gains: ClassVar = {"conv1a.weight": 1 / 64}
    """Pixels are not divided, so the first layer divides by their standard deviation, about 64."""

    def __init__(self, settings: C3DSettings, compute: Compute) -> None:
        super().__init__(settings, compute)
        if settings.channel_order is not None:
            self.pixels = replace(self.pixels, order=settings.channel_order)
        self._volume_sha256: str | None = None
        if settings.mean_file is not None:
            self._mean, self._volume_sha256 = self._read_volume(settings.mean_file)

    def _build(self) -> nn.Module:
        return C3DNetwork()

    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        return self.network(pixels, self.layers)

    def _read_volume(self, path: Path) -> tuple[Tensor, str]:
        """The mean of each pixel of a window, (1, 3, 16, 112, 112) RGB, and the file's SHA-256. Raises InputError."""
        try:
            volume = load_array(path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"mean_file {path}: cannot be read as .npy ({error})") from error
        if volume.size != np.prod(VOLUME) or volume.shape[-4:] != VOLUME:
            raise InputError(f"mean_file {path}: shape {volume.shape}, needs {VOLUME}")
        (rows, columns), (height, width) = VOLUME[2:], self.plan.geometry.crop
        top, left = self.plan.geometry.corner(rows, columns)
        cut = volume.reshape(VOLUME)[::-1, :, top : top + height, left : left + width]  # BGR → RGB
        return torch.from_numpy(np.ascontiguousarray(cut, np.float32)).to(self.device)[None], sha256

    def _preprocessing(self) -> dict[str, Any]:
        described = super()._preprocessing()
        if self._volume_sha256 is not None:
            described["mean"] = {"volume_sha256": self._volume_sha256}
        return described
