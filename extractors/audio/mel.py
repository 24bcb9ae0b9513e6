"""Mel spectrograms in decibels by librosa, and the base class of extractors of sound without a network.

librosa is imported when the first extractor is built, because it imports numba.
"""

from importlib.metadata import version
from typing import Any

import numpy as np

from reelmill.extractors.core.plain import PlainExtractor
from reelmill.extractors.core.settings import Compute, WindowSettings

RATE = 22_050
"""Samples per second; librosa's default."""
BANDS = 128
FLOOR = 1e-10
"""Smallest power, −100 dB: digital silence has no logarithm."""
FLOOR_DB = -100.0


def load() -> None:
    """Import all of librosa that is used. It imports its parts lazily, and the first video would wait for seconds."""
    from librosa import power_to_db, stft  # noqa: F401
    from librosa.feature import melspectrogram  # noqa: F401
    from librosa.filters import get_window  # noqa: F401


def mel_decibels(power: np.ndarray, n_fft: int) -> np.ndarray:
    """Power spectra (…, n_fft / 2 + 1, frames) → decibels of the mel bands (…, BANDS, frames), float32.

    The reference is 1 and not the loudest frame, so that the values of a window do not depend on other sound.
    """
    import librosa

    mel = librosa.feature.melspectrogram(S=power, sr=RATE, n_fft=n_fft, n_mels=BANDS)
    return np.maximum(librosa.power_to_db(mel, ref=1.0, amin=FLOOR, top_db=None), FLOOR_DB, dtype=np.float32)


def described(n_fft: int, **rest: Any) -> dict[str, Any]:
    """What is done to samples, for the spec."""
    return {
        "librosa": version("librosa"), "n_fft": n_fft, "window": "hann", "bands": BANDS, "mel": "slaney",
        "fmin": 0.0, "fmax": RATE / 2, "power": 2.0, "decibels": {"ref": 1.0, "amin": FLOOR}, **rest,
    }  # fmt: skip


class MelExtractor(PlainExtractor):
    """An extractor of sound without a network."""

    def __init__(self, settings: WindowSettings, compute: Compute) -> None:
        super().__init__(settings, compute)
        load()
