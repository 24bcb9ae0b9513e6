"""Writes frames and samples to an MP4 file, H.264 (yuv420p) and AAC."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from reelmill.storage import parts

PRESET = {"preset": "superfast", "crf": "23", "g": "50", "threads": "1"}
"""Fast, small, and with a key frame every 50 frames, so that a reader can seek."""


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int, samples: np.ndarray | None, rate: int) -> Path:
    """Write a video; return its path. The file appears under its name when it is complete, and not before.

    frames: (height, width, 3) uint8 RGB each, even sizes, at `fps` per second. samples: (n,) float32 in −1 to 1, mono,
    at `rate` per second, or None for a video without sound. Frames are taken from the iterable one by one, so memory
    does not grow with the length.
    """
    path = Path(path)
    options = {"movflags": "+faststart"}
    with parts.replacing(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as out:
        _mux(out, frames, fps, samples, rate)
    return path


def _mux(
    out: "av.container.OutputContainer", frames: Iterable[np.ndarray], fps: int, samples: np.ndarray | None, rate: int
) -> None:
    video = out.add_stream("libx264", rate=fps, options=PRESET)
    video.pix_fmt = "yuv420p"
    audio = out.add_stream("aac", rate=rate, layout="mono") if samples is not None else None
    heard = 0
    for number, frame in enumerate(frames):
        if number == 0:
            video.height, video.width = frame.shape[:2]
        out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if audio is not None and samples is not None and number % fps == fps - 1:  # a second of each in turn
            until = (number + 1) * rate // fps
            out.mux(audio.encode(_sound(samples[heard:until], heard, rate)))
            heard = until
    out.mux(video.encode(None))
    if audio is not None and samples is not None:
        if heard < len(samples):
            out.mux(audio.encode(_sound(samples[heard:], heard, rate)))
        out.mux(audio.encode(None))


def _sound(samples: np.ndarray, first: int, rate: int) -> "av.AudioFrame":
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, first
    return frame
