"""The extractor `logmel`: mean and standard deviation over time of 128 log-mel bands of each segment → stats (256).

Only spectra of 2048 samples (93 ms, every 512 samples) that are completely within sound are used. If there is none,
because the sound is shorter or has gaps, the spectrum with the most sound is used, with zeros for missing samples.
"""

from typing import Any

import numpy as np

from reelmill.extractors.audio.mel import BANDS, RATE, MelExtractor, described, mel_decibels
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import WindowSettings
from reelmill.extractors.core.sound import SoundPlan

N_FFT, HOP = 2048, 512

EXTRACTOR = Descriptor(
    name="logmel",
    input="sound",
    layers={"stats": 2 * BANDS},
    default_layers=("stats",),
    settings=WindowSettings,
    implementation="reelmill.extractors.audio.logmel:LogMel",
    paper="Mean and standard deviation over time of librosa's mel spectrogram in decibels",
)


class LogMel(MelExtractor):
    """Layer `stats`: 128 means, then 128 standard deviations, in decibels; one row for each segment."""

    about = EXTRACTOR
    plan = SoundPlan(RATE, least=N_FFT)
    windows_a_batch = 8

    def _vector(self, window: np.ndarray) -> np.ndarray:
        import librosa

        samples = np.pad(window, (0, max(N_FFT - len(window), 0)), constant_values=np.nan)
        present = np.isfinite(samples)
        # without librosa's padding at both ends, which would be treated as sound
        spectra = librosa.stft(np.where(present, samples, 0), n_fft=N_FFT, hop_length=HOP, center=False)
        before = np.concatenate([[0], np.cumsum(present)])
        heard = (before[N_FFT:] - before[:-N_FFT])[::HOP]  # samples of sound in each spectrum
        bands = mel_decibels(np.abs(spectra[:, heard == heard.max()]) ** 2, N_FFT).astype(np.float64)
        return np.concatenate([bands.mean(axis=1), bands.std(axis=1)]).astype(np.float32)

    def _preprocessing(self) -> dict[str, Any]:
        return described(N_FFT, hop=HOP, center=False, spectra="whole", std="population")
