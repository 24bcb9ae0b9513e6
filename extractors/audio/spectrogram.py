"""The extractor `spectrogram`: the sound of a whole video as 32 spectrograms → parts (32 × 128 × 128).

Paper 003, §3.1, and what it cites for its audio modality: a micro-video is cut at equal intervals into 32 parts, and
the sound of each part becomes a spectrogram with one channel. Of a part longer than 5 s the middle is used.

Each spectrogram has 128 bands (row 0 the lowest) and 128 time steps. A part of any length gets 128 steps without
resizing: the spectra start evenly spaced between the first sample of the part and the last position where a spectrum
fits. They overlap in parts of up to 5.9 s, so no sound is skipped. Missing samples are zeros (−100 dB), as is padding
of a part that is shorter than a spectrum; the mask is PADDED then.
"""

from typing import Any

import numpy as np

from reelmill.extractors.audio.mel import BANDS, FLOOR_DB, RATE, MelExtractor, described, mel_decibels
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import WindowSettings
from reelmill.extractors.core.sound import NO_TIME, SoundPlan

PARTS, STEPS = 32, 128
N_FFT = 1024
"""46 ms, half of `logmel`'s, because the parts of a short video last only about 200 ms."""
PLAN = SoundPlan(RATE, least=N_FFT, parts=PARTS)


def spectrograms(window: np.ndarray) -> np.ndarray:
    """The spectrograms of a window: (parts, samples) float32 → (parts, BANDS, STEPS) float32, in decibels."""
    from librosa.filters import get_window

    hann = get_window("hann", N_FFT).astype(np.float32)
    power = np.empty((len(window), N_FFT // 2 + 1, STEPS), np.float32)
    for part, samples in enumerate(window):
        lasting = int((samples != NO_TIME).sum())
        filled = np.zeros(max(lasting, N_FFT), np.float32)
        filled[:lasting] = np.nan_to_num(samples[:lasting])  # zeros for NO_SOUND
        starts = np.round(np.linspace(0, len(filled) - N_FFT, STEPS)).astype(int)
        spectra = np.fft.rfft(filled[starts[:, None] + np.arange(N_FFT)] * hann)
        power[part] = (spectra.real**2 + spectra.imag**2).T
    return mel_decibels(power, N_FFT)


def preprocessing() -> dict[str, Any]:
    """What `spectrograms` does, for the spec."""
    return described(N_FFT, steps=STEPS, spacing="even", lacking="zeros", floor_db=FLOOR_DB)


EXTRACTOR = Descriptor(
    name="spectrogram",
    input="sound",
    layers={"parts": PARTS * BANDS * STEPS},
    default_layers=("parts",),
    settings=WindowSettings,
    implementation="reelmill.extractors.audio.spectrogram:Spectrogram",
    paper="Paper 003, §3.1: spectrograms of 32 equal parts of the sound",
)


class Spectrogram(MelExtractor):
    """Layer `parts`: `reshape(32, 128, 128)` gives parts, bands, steps; one row for each video, float16 (1 MiB)."""

    about = EXTRACTOR
    plan = PLAN
    dtype = "float16"

    def _vector(self, window: np.ndarray) -> np.ndarray:
        return spectrograms(window).reshape(-1)

    def _preprocessing(self) -> dict[str, Any]:
        return {**preprocessing(), "shape": [PARTS, BANDS, STEPS], "axes": ["part", "band", "step"]}
