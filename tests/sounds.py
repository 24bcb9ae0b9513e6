"""Videos whose sound tells its own time: a click in each second k, at k + (k + 1) / 10 s, which no other second has."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLICK_S = 0.01


def clicks(times_s: np.ndarray) -> np.ndarray:
    """Samples (n,) float32 at these times: 10 ms of 1 kHz at 0.8 in each second from 0 to 8, faint noise elsewhere."""
    second = np.floor(times_s + 1e-9)
    since = times_s - second - (second + 1) / 10
    click = (since > -1e-9) & (since < CLICK_S) & (second >= 0) & (second <= 8)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(times_s))
    return (noise + 0.8 * click * np.cos(2 * np.pi * 1000 * since)).astype(np.float32)


def click_times(samples: np.ndarray, rate: int) -> list[float]:
    """Seconds from the first sample at which clicks begin."""
    loud = np.flatnonzero(np.nan_to_num(np.abs(samples), posinf=0) > 0.4) / rate
    return [time for time, gap in zip(loud, np.diff(loud, prepend=-1), strict=True) if gap > 0.1]


def write_sound(
    path: Path,
    *,
    codec: str = "pcm_s16le",
    rate: int = 22_050,
    layout: str = "mono",
    seconds: float = 6,
    spans: Sequence[tuple[float, float]] | None = None,
    picture_from: float = 0.0,
    right: float = 1.0,
) -> Path:
    """A tiny video of `seconds` from `picture_from` on, with clicks in each span (from, to) of seconds by its clock.

    No spans: sound from 0 to the end. `right`: factor of all channels but the first.
    """
    with av.open(str(path), "w") as out:
        video = out.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound = out.add_stream(codec, rate=rate, layout=layout)
        for index in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index + round(picture_from * 10), Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start, stop in spans if spans is not None else [(0, picture_from + seconds)]:
            wave = clicks(np.arange(round(start * rate), round(stop * rate)) / rate)
            channels = np.stack([wave, *[wave * np.float32(right)] * (av.AudioLayout(layout).nb_channels - 1)])
            step = sound.codec_context.frame_size or 1000
            for first in range(0, len(wave), step):
                packed = np.ascontiguousarray(channels[:, first : first + step].T).reshape(1, -1)
                piece = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
                piece.sample_rate, piece.time_base = rate, Fraction(1, rate)
                piece.pts = round(start * rate) + first
                out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
    return path


def sound_packets(path: Path) -> list[tuple[int, int]]:
    """(place in the file, bytes) of each packet of sound."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(p.pos, p.size) for p in packets if p.size and p.pos is not None]


def spoil(path: Path, packets: Sequence[tuple[int, int]]) -> None:
    """Overwrite the insides of these packets."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        originals = {p.pos: bytes(p) for p in container.demux(container.streams.audio[0]) if p.size}
    for position, size in packets:
        start = data.index(originals[position], position)  # a packet's place may be that of its header
        data[start : start + size] = bytes([0x55]) * size
    path.write_bytes(data)
