"""Sound as librosa's mel spectrogram in decibels, and what the extractors share that need no network.

librosa is imported when the first one is built: it brings numba along.
"""

from abc import ABC, abstractmethod
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import numpy as np

from reelmill.extractors.core.base import check_windows
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import Compute, WindowSettings
from reelmill.extractors.core.sound import SoundPlan
from reelmill.storage.spec import Spec

RATE = 22_050
"""Samples a second; librosa's own default."""
BANDS = 128
FLOOR = 1e-10
"""Least power, which is −100 dB: digital silence has no logarithm."""
FLOOR_DB = -100.0


def load() -> None:
    """Import librosa whole: it loads its parts when they are first used, and the first video would wait for seconds."""
    from librosa import power_to_db, stft  # noqa: F401
    from librosa.feature import melspectrogram  # noqa: F401
    from librosa.filters import get_window  # noqa: F401


def mel_decibels(power: np.ndarray, n_fft: int) -> np.ndarray:
    """Power spectra (…, n_fft / 2 + 1, frames) → decibels of the mel bands (…, BANDS, frames), float32.

    Against 1, not against the loudest frame: a window's numbers do not depend on what else was played.
    """
    import librosa

    mel = librosa.feature.melspectrogram(S=power, sr=RATE, n_fft=n_fft, n_mels=BANDS)
    return np.maximum(librosa.power_to_db(mel, ref=1.0, amin=FLOOR, top_db=None), FLOOR_DB, dtype=np.float32)


def described(n_fft: int, **rest: Any) -> dict[str, Any]:
    """What is done to the samples, for the spec."""
    return {
        "librosa": version("librosa"), "n_fft": n_fft, "window": "hann", "bands": BANDS, "mel": "slaney",
        "fmin": 0.0, "fmax": RATE / 2, "power": 2.0, "decibels": {"ref": 1.0, "amin": FLOOR}, **rest,
    }  # fmt: skip


class MelExtractor(ABC):
    """An extractor without a network. Windows are computed one by one, each in the same shape, so that a window's
    vectors do not depend on the others of its batch, nor on the size of the batch."""

    about: ClassVar[Descriptor]
    plan: SoundPlan
    dtype: ClassVar[Literal["float32", "float16"]] = "float32"
    """In which the vectors are stored."""
    windows_a_batch: ClassVar[int] = 1
    code_version: ClassVar[int] = 1
    """Raised when a change here alters the numbers."""

    def __init__(self, settings: WindowSettings, compute: Compute) -> None:
        """`compute` is not used: this runs on the CPU, in float32. Raises InputError for an unknown layer."""
        self.name = self.about.name
        self.layers = self.about.chosen(settings.layers)
        self.batch_size = settings.batch_size or self.windows_a_batch
        load()

    @abstractmethod
    def _vector(self, window: np.ndarray) -> np.ndarray:
        """One window → (dim,) of the one layer."""

    @abstractmethod
    def _preprocessing(self) -> dict[str, Any]:
        """Everything that is done to the samples, for the spec."""

    def specs(
        self, *, segment_ms: int, decoder: str, rows: Literal["segment", "window"] = "segment"
    ) -> dict[str, Spec]:
        """The spec of each layer. `decoder` names the decoder of sound and its version."""
        return {
            layer: Spec(
                extractor=self.name,
                layer=layer,
                dim=self.about.layers[layer],
                rows=self.plan.rows(rows),
                sampling=self.plan.describe(segment_ms),
                preprocessing=self._preprocessing(),
                decoder=decoder,
                dtype=self.dtype,
                code_version=self.code_version,
            )
            for layer in self.layers
        }

    def forward(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """(batch_size, *plan.shape(segment_ms)) float32 → {layer: (batch_size, dim) float32}.

        Raises InputError for another shape or type.
        """
        # the length of a segment is not known here: a segment may have any
        shape = windows.shape[-1:] if self.plan.parts is None else self.plan.shape()
        check_windows(self.name, windows, (self.batch_size, *shape), self.plan.dtype)
        (layer,) = self.layers
        return {layer: np.stack([self._vector(window) for window in windows])}
