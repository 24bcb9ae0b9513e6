"""The network of `i3d_sound`.

Paper 003, §3.1: I3D with one input channel and an average pool instead of classes. The spectrograms are those of
`spectrogram`, scaled bilinearly from 128 × 128 to 224 × 224, and from −100 … 40 dB to −1 … 1.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.extractors.audio.i3d_sound import EXTRACTOR
from reelmill.extractors.audio.mel import load
from reelmill.extractors.audio.spectrogram import PLAN, preprocessing, spectrograms
from reelmill.extractors.core.inception import I3DNetwork, averaged
from reelmill.extractors.core.network import NetworkExtractor
from reelmill.extractors.core.network_settings import NetworkSettings
from reelmill.extractors.core.settings import Compute

SIZE = 224
MEAN_DB, SCALE_DB = -30.0, 70.0
"""Silence is −100 dB; a tone at full scale about 34 dB."""


class I3DSound(NetworkExtractor):
    """Layer `mixed_5c`: the last block, averaged as in `i3d`; one row for each video."""

    about = EXTRACTOR
    plan = PLAN
    batch_sizes: ClassVar = {"cpu": 1, "cuda": 8}

    def __init__(self, settings: NetworkSettings, compute: Compute) -> None:
        super().__init__(settings, compute)
        load()

    def _build(self) -> nn.Module:
        return I3DNetwork(in_channels=1)

    def _values(self, windows: np.ndarray) -> Tensor:
        """(batch, 32, samples) → spectrograms (batch, 32, 128, 128)."""
        return torch.from_numpy(np.stack([spectrograms(window) for window in windows]))

    def _input(self, values: Tensor) -> Tensor:
        """Spectrograms (batch, 32, 128, 128) → (batch, 1, 32, 224, 224)."""
        scaled = F.interpolate(values.sub(MEAN_DB).div_(SCALE_DB), (SIZE, SIZE), mode="bilinear")
        return scaled[:, None].to(self._dtype, memory_format=torch.channels_last_3d)

    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        return {"mixed_5c": averaged(self.network(pixels))}  # of B, 1024, 4, 7, 7

    def _preprocessing(self) -> dict[str, Any]:
        scaling = {"crop": [SIZE, SIZE], "filter": "bilinear", "antialias": False}
        return {**preprocessing(), **scaling, "mean": MEAN_DB, "std": SCALE_DB}
