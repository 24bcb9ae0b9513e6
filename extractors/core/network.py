"""Base classes of networks: weights, forward pass and spec; for networks of frames also the arithmetic on pixels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reelmill.extractors.core.base import check_windows
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.device import check_compiler, choose_device, choose_precision, repeatable
from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.network_settings import FrameSettings, NetworkSettings
from reelmill.extractors.core.settings import Compute
from reelmill.extractors.core.sound import SoundPlan
from reelmill.extractors.core.transfer import Transfer
from reelmill.extractors.weights import checkpoints
from reelmill.extractors.weights import load as weights
from reelmill.storage.spec import Spec


class NetworkExtractor(ABC):
    """A convolutional network behind the `Extractor` protocol.

    The vector of a window is bit-identical from run to run, in float32 and in bfloat16, with any number of decoding
    processes, whatever else is in the batch and at whichever place, because every batch has the same shape. On a CPU
    this holds for one processor, one version of torch, one number of torch threads and one `batch_size`. Otherwise
    oneDNN may split sums differently, and the order of a sum decides its last bits: the difference is up to 2e-6 of the
    vector's largest number in float32 (another batch size changed all four networks, another number of threads the two
    I3Ds) and up to 1e-3 in bfloat16. On CUDA the algorithms are fixed (`repeatable`).
    """

    about: ClassVar[Descriptor]
    plan: FramePlan | SoundPlan
    batch_sizes: ClassVar[Mapping[str, int]]
    """Default batch size by type of device: on a CPU larger batches are slower."""
    memory_format: ClassVar[torch.memory_format] = torch.channels_last_3d
    """Memory layout of the network; `channels_last` for two-dimensional convolutions."""
    random_gains: ClassVar[Mapping[str, float]] = {}
    """See `weights.random_weights`."""
    code_version: ClassVar[int] = 2
    """Increased when a change of the code changes the numbers."""

    def __init__(self, settings: NetworkSettings, compute: Compute) -> None:
        """Loads or draws the weights. Raises InputError for an unknown layer, device or precision, and for weights that
        cannot be loaded (`weights.load`)."""
        self.name = self.about.name
        self.layers = self.about.chosen(settings.layers)
        self.device = choose_device(compute.device)
        self.precision = choose_precision(compute.precision, self.device)
        self.batch_size = settings.batch_size or self.batch_sizes[self.device.type]
        if compute.compile:
            check_compiler(self.device)

        record, path = self.about.find_weights(settings.weights)
        with torch.device("meta"):  # shapes only: no time spent on initial values, no random state touched
            network = self._build()
        if settings.weights == "random":
            loaded = weights.random_weights(network, settings.seed, self.random_gains)
        else:
            loaded = weights.load(record, path=path, sha256=settings.weights_sha256)
        weights.install(network, loaded)
        self.weights_name, self.weights_sha256 = loaded.name, loaded.sha256

        self._dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        network = network.eval().to(device=self.device, dtype=self._dtype)
        self.network = network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.checkpoint = record

        self._transfer = Transfer(self.device) if self.device.type == "cuda" else None
        self._compiled: Callable[[Tensor], Mapping[str, Tensor]] | None = None
        if compute.compile:
            self._compiled = torch.compile(self._run, dynamic=False, fullgraph=True)

    @abstractmethod
    def _build(self) -> nn.Module:
        """The network without values: `__init__` loads them."""

    def _values(self, windows: np.ndarray) -> Tensor:
        """(batch, *plan.shape()) → the tensor that is copied to the device; by default the windows themselves."""
        return torch.from_numpy(np.require(windows, requirements=["C", "W"]))  # torch takes writable arrays only

    @abstractmethod
    def _input(self, values: Tensor) -> Tensor:
        """The tensor of `_values`, now on the device → the input of the network, in its precision."""

    @abstractmethod
    def _run(self, pixels: Tensor) -> Mapping[str, Tensor]:
        """(batch, channels, length, height, width), as returned by `_input` → {layer: (batch, dim)} with at least
        `self.layers`."""

    @abstractmethod
    def _preprocessing(self) -> dict[str, Any]:
        """Everything that is done to the values of a window, for the spec."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """{layer: its spec}. `decoder`: name and version."""
        return {
            layer: Spec.from_json(  # plain lists for tuples, as a spec read back from a store has them
                Spec(
                    extractor=self.name,
                    layer=layer,
                    dim=self.about.layers[layer],
                    rows=self.plan.rows(rows),
                    sampling=self.plan.describe(segment_ms),
                    preprocessing=self._preprocessing(),
                    weights=self.weights_name,
                    weights_sha256=self.weights_sha256,
                    decoder=decoder,
                    precision=self.precision if self._compiled is None else f"{self.precision}-compiled",
                    code_version=self.code_version,
                ).to_json()
            )
            for layer in self.layers
        }

    def forward(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """(batch_size, *plan.shape()) of plan.dtype → {layer: (batch_size, dim) float32}.

        Raises InputError for another shape or type.
        """
        return self.start(windows)()

    @torch.inference_mode()
    def start(self, windows: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
        """Start a forward pass; the function that is returned gives the vectors. On CUDA it waits for them, on a CPU
        they are computed already. Raises InputError as `forward` does."""
        check_windows(self.name, windows, (self.batch_size, *self.plan.shape()), self.plan.dtype)
        values = self._values(windows)
        if self._transfer is not None:
            return self._transfer.start(values, self._vectors)
        found = {layer: tensor.numpy() for layer, tensor in self._vectors(values).items()}
        return lambda: found

    def _vectors(self, values: Tensor) -> dict[str, Tensor]:
        with repeatable():
            found = (self._compiled or self._run)(self._input(values))
        return {layer: found[layer].float() for layer in self.layers}


class FrameNetwork(NetworkExtractor):
    """A network that reads RGB frames."""

    plan: FramePlan
    pixels: checkpoints.Pixels
    """Mean, scale and channel order that its weights need."""

    def __init__(self, settings: FrameSettings, compute: Compute) -> None:
        super().__init__(settings, compute)
        self.plan = FramePlan(self.plan.geometry, settings.windows_of(self.plan.windows))
        assert self.checkpoint.pixels is not None
        self.pixels = self.checkpoint.pixels
        self._mean, self._std = (self._per_channel(values) for values in (self.pixels.mean, self.pixels.std))

    def _input(self, values: Tensor) -> Tensor:
        """(batch, length, height, width, 3) uint8 RGB → (batch, 3, length, height, width), channels last in memory."""
        pixels = values.permute(0, 4, 1, 2, 3).float()
        pixels = pixels.div_(self.pixels.divisor).sub_(self._mean).div_(self._std)
        if self.pixels.order == "BGR":
            pixels = pixels.flip(1)
        return pixels.to(self._dtype, memory_format=torch.channels_last_3d)

    def _per_channel(self, values: tuple[float, float, float]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, 3, 1, 1, 1)

    def _preprocessing(self) -> dict[str, Any]:
        return {**self.plan.geometry.describe(), "scaler": "swscale", "antialias": True, **self.pixels.describe()}
