"""What a user can choose of an extractor, and the rules that hold for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from reelmill.storage.errors import InputError, nearest


@dataclass(frozen=True)
class Settings:
    """What a user can choose of an extractor. None: the extractor's own default."""

    layers: tuple[str, ...] | None = None
    """Each has a store of its own; several come from one forward pass."""
    windows: int | None = None
    """Windows a segment, evenly spaced; None: every one."""
    step_ms: float | None = None
    """Spacing of the frames of a window that is sampled by time (not C3D's, which are consecutive)."""
    frames: int | None = None
    """I3D only: frames a window, 16 to 64."""
    weights: str = "default"
    """`default`, the name of a checkpoint, the path of its file, or `random`."""
    weights_sha256: str | None = None
    """The file that you trust, if not the published one."""
    seed: int = 0
    """Of random weights."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:<n>`. What needs no network runs on the CPU."""
    precision: str = "auto"
    """`auto`, `float32` or `bfloat16`. What needs no network computes in float32."""
    compile: bool = False
    """Networks through torch.compile: other rounding, so another spec. What needs no network is not compiled."""
    batch_size: int | None = None
    """Windows a forward pass."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """C3D only: instead of the checkpoint's."""
    mean_file: Path | None = None
    """C3D only: the published mean volume as .npy, (3, 16, 128, 171) in BGR, instead of one mean a channel."""

    def check(self, name: str, dims: Mapping[str, int], others: Sequence[str]) -> None:
        """Raise InputError for the first value that breaks a rule of the extractor `name`, which has layers `dims` and
        lacks the settings `others`."""
        for setting in fields(self):
            if setting.name in others and getattr(self, setting.name) != setting.default:
                raise InputError(f"{setting.name}: {name} has no such setting; remove it")
        for layer in self.layers or ():
            if layer not in dims:
                raise InputError(f"layer {layer!r} of {name}: {nearest(layer, tuple(dims))}")
        if self.layers is not None and not 0 < len(set(self.layers)) == len(self.layers):
            raise InputError(f"layers {list(self.layers)} of {name}: name at least one, and each once")
        for above_zero in ("windows", "step_ms", "batch_size"):
            value = getattr(self, above_zero)
            if value is not None and value <= 0:
                raise InputError(f"{above_zero} {value!r} of {name}: must be above 0")
        if self.weights == "random" and self.weights_sha256:
            raise InputError("weights: random reads no file; remove weights_sha256, or name a checkpoint")
