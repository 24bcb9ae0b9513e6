"""Videos for the tests. Each frame carries its index in its pixels, so a test can prove which frame came back."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 12


def indexed_frame(index: int, width: int = 320, height: int = 240) -> np.ndarray:
    """(height, width, 3) uint8: the index as BITS black and white bars in the upper half, a grey ramp below."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 2 :] = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    edges = np.linspace(0, width, BITS + 1).astype(int)
    for bit in range(BITS):
        if index >> bit & 1:
            frame[: height // 2, edges[bit] : edges[bit + 1]] = 255
    return frame


def read_index(frame: np.ndarray) -> int:
    """The index that `indexed_frame` put in, after any scaling. Works on (height, width, 3) uint8."""
    height, width = frame.shape[:2]
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    bits = frame[height // 4, centres].mean(axis=-1) > 127
    return int((bits << np.arange(BITS)).sum())


def make_video(
    path: Path,
    frames: int = 50,
    fps: int = 25,
    size: tuple[int, int] = (320, 240),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound: bool = False,
    times: list[float] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write an indexed video; `times` (seconds, ascending) make the rate variable. Returns the path."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90_000)
        audio = out.add_stream("aac", rate=22_050, layout="mono") if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(indexed_frame(index, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 90_000), Fraction(1, 90_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio is not None:
            seconds = times[-1] if times else frames / fps
            wave = np.sin(2 * np.pi * 440 * np.arange(int(22_050 * seconds)) / 22_050).astype(np.float32)[None]
            sample = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            sample.sample_rate = 22_050
            out.mux(audio.encode(sample))
            out.mux(audio.encode(None))
    return path
