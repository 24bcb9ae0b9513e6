"""Settings that networks share: weights, and windows of frames. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reelmill.extractors.core.frames import Windows
from reelmill.extractors.core.settings import MOST_WINDOWS, WindowSettings
from reelmill.storage.errors import InputError

WEIGHT_FILES = (".pt", ".pth", ".pickle", ".pkl", ".pyth", ".npy", ".safetensors")
"""With these endings `weights` in a settings file is a path, even without a slash."""

DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(WindowSettings):
    """Settings of a network with weights."""

    weights: str = "default"
    """default: the published checkpoint (i3d_sound has none); or a checkpoint's name, a file's path, or random."""
    weights_sha256: str | None = None
    """SHA-256 of the checkpoint file that you trust, where none was published (i3d_r50, some C3D files)."""
    seed: int = 0
    """Seed of random weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(seed=(0, (1 << 63) - 1))
        if self.weights == "random" and self.weights_sha256:
            raise InputError("weights: random reads no file; remove weights_sha256, or name a checkpoint")

    @classmethod
    def paths(cls, values: Mapping[str, Any]) -> list[str]:
        weights = str(values.get("weights"))
        return super().paths(values) + ["weights"] * ("/" in weights or weights.endswith(WEIGHT_FILES))


@dataclass(frozen=True, kw_only=True)
class FrameSettings(NetworkSettings):
    """Settings of a network that reads windows of frames."""

    windows: int | None = None
    """Windows for each segment, evenly spaced; as many as fit if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("windows")
        self.within(windows=(1, MOST_WINDOWS))

    def windows_of(self, default: Windows) -> Windows:
        """The network's default windows, changed by these settings."""
        return replace(default, count=self.windows)


@dataclass(frozen=True, kw_only=True)
class TimedFrameSettings(FrameSettings):
    """Settings of a network whose frames are chosen by time."""

    step_ms: float | None = None
    """Time between the frames of a window: 40 ms for i3d, 267 ms for i3d_r50, 1000 ms for vgg19 if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("step_ms")
        self.within(step_ms=(0, DAY_MS))

    def windows_of(self, default: Windows) -> Windows:
        windows = super().windows_of(default)
        return windows if self.step_ms is None else replace(windows, step_ms=float(self.step_ms))
