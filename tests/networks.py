"""Networks for the tests: all with random weights, one of them thin; and clips for them to see."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.registry import build, descriptors
from reelmill.extractors.video.c3d_network import C3DNetwork

BATCH = 2
NETWORKS = {about.name: about for about in descriptors() if about.input == "frames" and about.checkpoints}


def make(name: str, **settings: Any) -> FrameNetwork:
    """With random weights, all layers, on the CPU."""
    defaults = {"layers": tuple(NETWORKS[name].layers), "weights": "random", "device": "cpu", "batch_size": BATCH}
    extractor = build(name, **{**defaults, **settings})
    assert isinstance(extractor, FrameNetwork)
    return extractor


def clip(extractor: FrameNetwork, colour: tuple[int, int, int], move: tuple[int, int], noise: int = 0) -> np.ndarray:
    """(length, height, width, 3) uint8: a square of a colour on dark noise; `move`: hundredths of the width a frame."""
    size = extractor.plan.geometry.crop[0]
    frames = (
        np.random.default_rng(noise).integers(20, 60, (extractor.plan.windows.length, size, size, 3)).astype(np.uint8)
    )
    for index, frame in enumerate(frames):
        x, y = ((size // 3 + index * step * size // 100) % (size - size // 3) for step in move)
        frame[y : y + size // 3, x : x + size // 3] = colour
    return frames


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row with the same row."""
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


class ThinC3D(C3DNetwork):
    """C3D with a hundredth of the channels: the same names and the same way through."""

    def __init__(self) -> None:
        super().__init__()
        for name, module in list(self.named_children()):
            if isinstance(module, nn.Conv3d):
                channels_in = 3 if name == "conv1a" else 4
                setattr(self, name, nn.Conv3d(channels_in, 4, kernel_size=3, padding=1))
        self.fc6, self.fc7 = nn.Linear(4 * 16, 8), nn.Linear(8, 8)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
