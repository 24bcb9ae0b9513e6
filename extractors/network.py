"""What the convolutional extractors share: settings, weights, pixel arithmetic, one forward pass, the spec."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from extractors import checkpoints, weights
from extractors.device import choose_device, choose_precision, repeatable
from extractors.frames import Geometry, Windows
from storage.errors import InputError, nearest
from storage.spec import Spec


@dataclass(frozen=True)
class Settings:
    """What a user can choose of an extractor. None: the extractor's own default."""

    layers: tuple[str, ...] | None = None
    """Each has a store of its own; several come from one forward pass."""
    windows: int | None = None
    """Windows a segment, evenly spaced; None: every one."""
    step_ms: float | None = None
    """Spacing of the frames of a window that is sampled by time (not C3D's, which are consecutive)."""
    weights: str = "default"
    """`default`, the name of a checkpoint, the path of its file, or `random`."""
    weights_sha256: str | None = None
    """The file that you trust, if not the published one."""
    seed: int = 0
    """Of random weights."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:<n>`."""
    precision: str = "auto"
    """`auto`, `float32` or `bfloat16`."""
    batch_size: int | None = None
    """Windows a forward pass."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """C3D only: instead of the checkpoint's."""
    mean_file: Path | None = None
    """C3D only: the published mean volume as .npy, (3, 16, 128, 171) in BGR, instead of one mean a channel."""


class NetworkExtractor(ABC):
    """A convolutional network behind the `Extractor` protocol.

    On the CPU a window's vectors do not depend on the others of its batch, because the batch has always the same shape.
    """

    name: str
    geometry: Geometry
    windows: Windows
    dims: ClassVar[Mapping[str, int]]
    """Length of the vector of each layer."""
    default_layers: ClassVar[tuple[str, ...]]
    batch_sizes: ClassVar[Mapping[str, int]]
    """Default by type of device: on a CPU more windows at once are slower."""
    random_gains: ClassVar[Mapping[str, float]] = {}
    """See `weights.random_weights`."""
    only_others: ClassVar[tuple[str, ...]] = ("channel_order", "mean_file")
    """Settings that this extractor does not have."""
    code_version: ClassVar[int] = 1
    """Raised when a change here alters the numbers."""

    def __init__(self, settings: Settings) -> None:
        """Reads or makes the weights. Raises InputError for a setting that breaks a rule, and what `weights` raises."""
        self._check(settings)
        self.layers = tuple(settings.layers or self.default_layers)
        if settings.step_ms is not None:
            self.windows = replace(self.windows, step_ms=float(settings.step_ms))
        self.windows = replace(self.windows, count=settings.windows)
        self.device = choose_device(settings.device)
        self.precision = choose_precision(settings.precision, self.device)
        self.batch_size = settings.batch_size or self.batch_sizes[self.device.type]

        record, path = checkpoints.find(settings.weights, self.name)
        self.pixels = record.pixels
        with torch.device("meta"):  # shapes only: no time spent on initial values, no random state touched
            network = self._build()
        if settings.weights == "random":
            loaded = weights.random_weights(network, settings.seed, self.random_gains)
        else:
            loaded = weights.load(record, path=path, sha256=settings.weights_sha256)
        weights.install(network, loaded)
        self.weights_name, self.weights_sha256 = loaded.name, loaded.sha256

        self._dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        last = torch.channels_last if self.windows.length == 1 else torch.channels_last_3d
        network = network.eval().to(device=self.device, dtype=self._dtype)
        self.network = network.to(memory_format=last)  # type: ignore[call-overload]
        self._mean, self._std = (self._per_channel(values) for values in (self.pixels.mean, self.pixels.std))

    @abstractmethod
    def _build(self) -> nn.Module:
        """The network; its values come from the weights."""

    @abstractmethod
    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        """(batch, 3, length, height, width), in the network's type → {layer: (batch, dim)}, `self.layers` at least."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """The spec of each layer. `decoder` names the decoder and its version."""
        return {
            layer: Spec.from_json(  # plain lists for tuples, as a spec read back from a store has them
                Spec(
                    extractor=self.name,
                    layer=layer,
                    dim=self.dims[layer],
                    rows=rows,
                    sampling={**self.windows.describe(), "segment_ms": segment_ms},
                    preprocessing=self._preprocessing(),
                    weights=self.weights_name,
                    weights_sha256=self.weights_sha256,
                    decoder=decoder,
                    precision=self.precision,
                    code_version=self.code_version,
                ).to_json()
            )
            for layer in self.layers
        }

    @torch.inference_mode()
    def forward(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """(batch_size, length, height, width, 3) uint8 RGB → {layer: (batch_size, dim) float32}.

        Raises InputError for another shape or type.
        """
        shape = (self.batch_size, self.windows.length, *self.geometry.crop, 3)
        if windows.shape != shape or windows.dtype != np.uint8:
            raise InputError(
                f"{self.name}: windows of shape {windows.shape} and type {windows.dtype}; needs uint8 {shape}, "
                "with the last batch filled up"
            )
        # torch takes writable arrays only; it does not write here
        frames = torch.from_numpy(np.require(windows, requirements=["C", "W"])).to(self.device)
        with repeatable():
            found = self._run(self._normalised(frames))
        return {layer: found[layer].float().cpu().numpy() for layer in self.layers}

    def _normalised(self, frames: Tensor) -> Tensor:
        """(batch, length, height, width, 3) uint8 RGB → (batch, 3, length, height, width), channels last in memory."""
        values = frames.permute(0, 4, 1, 2, 3).float()
        values = values.div_(self.pixels.divisor).sub_(self._mean).div_(self._std)
        if self.pixels.order == "BGR":
            values = values.flip(1)
        return values.to(self._dtype, memory_format=torch.channels_last_3d)

    def _per_channel(self, values: tuple[float, float, float]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, 3, 1, 1, 1)

    def _preprocessing(self) -> dict[str, Any]:
        """Everything that is done to a frame, for the spec."""
        return {**self.geometry.describe(), "scaler": "swscale", "antialias": True, **self.pixels.describe()}

    def _check(self, settings: Settings) -> None:
        """Raises InputError for the first value that breaks a rule."""
        for name in self.only_others:
            if getattr(settings, name) is not None:
                raise InputError(f"{name}: {self.name} has no such setting; remove it")
        for layer in settings.layers or ():
            if layer not in self.dims:
                raise InputError(f"layer {layer!r} of {self.name}: {nearest(layer, tuple(self.dims))}")
        if settings.layers is not None and not 0 < len(set(settings.layers)) == len(settings.layers):
            raise InputError(f"layers {list(settings.layers)} of {self.name}: name at least one, and each once")
        for name in ("windows", "step_ms", "batch_size"):
            value = getattr(settings, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} {value!r} of {self.name}: must be above 0")
        if settings.weights == "random" and settings.weights_sha256:
            raise InputError("weights: random reads no file; remove weights_sha256, or name a checkpoint")
