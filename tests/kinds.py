"""Kinds of video files, written by the tests: every frame carries its index in its pixels, so each says of itself
which one it is, and how the file was made says when it is shown."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np

from tests.media import indexed_frame, make_video

FRAMES, STEP_MS = 60, 40
"""Most videos: 60 frames, 25 a second."""
ONE = {"threads": "1"}
"""Encoders whose bytes do not depend on the number of cores."""

Frames = list[tuple[float, int]]
"""(time in ms since the first frame, index in the pixels)."""


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    path: str
    good: Frames
    """Every frame that has to come back."""
    harmed: tuple[int, ...] = ()
    """Times at which anything may come back or not: the file's bytes of them are damaged."""
    turn: int = 0
    """Degrees counter-clockwise that show it upright."""
    size: tuple[int, int] = (320, 240)
    """Width and height as coded."""


def evenly(count: int = FRAMES, first: int = 0) -> Frames:
    """The frames of a constant rate."""
    return [(i * STEP_MS, first + i) for i in range(count)]


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg program that comes with imageio-ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


X265 = {"x265-params": "log-level=none:pools=1:frame-threads=1"}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264, constant rate": ("mp4", {"options": {"bf": "0"}}),
    "H.264, B-frames": ("mp4", {"options": {"bf": "3"}}),
    "H.264, long GOP": ("mp4", {"options": {"bf": "3", "g": "250"}}),
    "H.264, open GOP": ("mp4", {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12"}}),
    "H.264, 10-bit": ("mp4", {"pix_fmt": "yuv420p10le"}),
    "H.264, 4:4:4, 319 × 239": ("mp4", {"pix_fmt": "yuv444p", "size": (319, 239)}),
    "H.264, interlaced": ("mp4", {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}}),
    "H.264 in fragmented mp4": ("mp4", {
        "container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "10"}}),
    "H.264 in MPEG-TS": ("ts", {"options": {"bf": "2", "g": "12"}}),
    "H.264 in FLV": ("flv", {"options": {"bf": "2"}}),
    "HEVC in mp4": ("mp4", {"codec": "libx265", "options": X265}),
    "HEVC, open GOP": ("mp4", {
        "codec": "libx265",
        "options": {"x265-params": X265["x265-params"] + ":open-gop=1:bframes=3:keyint=12:min-keyint=12"}}),
    "HEVC, 10-bit in mkv": ("mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": X265}),
    "VP9 in webm": ("webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    "AV1 in mp4": ("mp4", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}),
    "AV1 in mkv": ("mkv", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}),
    "MPEG-4 in AVI": ("avi", {"codec": "mpeg4", "options": {"q": "3"}}),
    "MPEG-4 in AVI, B-frames": ("avi", {"codec": "mpeg4", "options": {"bf": "2", "q": "3"}}),
    "WMV2 in ASF": ("wmv", {"codec": "wmv2", "options": {"q": "3"}}),
    "H.264 with AAC sound": ("mp4", {"options": {"bf": "3"}, "sound": True}),
    "one frame": ("mp4", {"frames": 1}),
}  # fmt: skip
"""Name: container, and how it is encoded."""


def plain(folder: Path) -> list[Case]:
    """The files that differ in their format only."""
    cases = []
    for number, (name, (kind, how)) in enumerate(FORMATS.items()):
        how = {"frames": FRAMES, **how, "options": {**ONE, **how.get("options", {})}}
        path = make_video(folder / f"{number}.{kind}", **how)
        cases.append(Case(name, str(path), evenly(how["frames"]), size=how.get("size", (320, 240))))
    return cases


def timed(folder: Path) -> list[Case]:
    """Files with times of their own."""
    gaps = np.random.default_rng(0).choice([40, 40, 80, 200, 520], FRAMES)
    times = [int(t) for t in np.cumsum(gaps) - gaps[0]]
    uneven = list(zip(times, range(FRAMES), strict=True))
    cases = []
    for kind in ("mp4", "mkv"):
        path = make_video(folder / f"vfr.{kind}", FRAMES, times=[t / 1000 for t in times], options=ONE)
        cases.append(Case(f"variable rate in {kind}", str(path), uneven))
        path = make_video(folder / f"late.{kind}", FRAMES, times=[2 + t / 1000 for t, _ in evenly()], options=ONE)
        cases.append(Case(f"starts at 2 s in {kind}", str(path), evenly()))
    whole = make_video(folder / "whole.mp4", FRAMES, options={**ONE, "g": "50", "bf": "0"})
    ffmpeg("-ss", "0.8", "-i", whole, "-c", "copy", folder / "edited.mp4")
    return [*cases, Case("edit list hides the first 20 frames", str(folder / "edited.mp4"), evenly(FRAMES - 20, 20))]


def turned(folder: Path) -> list[Case]:
    """Files whose display matrix turns them."""
    upright = make_video(folder / "upright.mp4", FRAMES, options=ONE)
    cases = []
    for turn in (90, 180, 270):
        path = folder / f"turned{turn}.mp4"
        ffmpeg("-display_rotation", str(turn), "-i", upright, "-c", "copy", path)
        cases.append(Case(f"turned by {turn}°", str(path), evenly(), turn=turn))
    return cases


DIVX, NOTHING = b"DivX503b1393p", b"\0\0\1\xb6\x50\0\x7f"
"""The encoder's name by which decoders know packed B-frames, and a picture that says that there is none."""


def packed(folder: Path) -> list[Case]:
    """MPEG-4 as DivX and XviD put it into AVI: a B-frame shares the chunk of the frame that it needs, and a chunk
    without a picture follows."""
    path = folder / "packed.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25, options={**ONE, "bf": "1", "q": "3", "sc_threshold": "1000000000"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        chunks: list[tuple[bytes, bool]] = []
        for packet in _encoded(stream, range(FRAMES), 320, 240):
            data = re.sub(rb"Lavc[\d.]{9}", DIVX, bytes(packet))
            if data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 2:  # the type of picture: B
                chunks[-1] = (chunks[-1][0] + data, chunks[-1][1])
                data = NOTHING
            chunks.append((data, packet.is_keyframe))
        for number, (data, key) in enumerate(chunks):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 25), key, stream
            out.mux(packet)
    return [Case("MPEG-4 in AVI, packed B-frames", str(path), evenly())]


def changing(folder: Path) -> list[Case]:
    """A file whose frames become smaller half way."""
    path = folder / "changing.ts"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={**ONE, "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        small = av.CodecContext.create("libx264", "w")
        small.width, small.height, small.pix_fmt, small.time_base = 160, 120, "yuv420p", Fraction(1, 25)
        small.options = {**ONE, "bf": "0"}
        parts = _encoded(stream, range(FRAMES // 2), 320, 240), _encoded(small, range(FRAMES // 2, FRAMES), 160, 120)
        for packet in [*parts[0], *parts[1]]:
            packet.stream = stream
            out.mux(packet)
    return [Case("size changes in the middle", str(path), evenly())]


def _encoded(encoder: Any, indices: Sequence[int], width: int, height: int) -> list[av.Packet]:
    packets = []
    for index in indices:
        frame = av.VideoFrame.from_ndarray(indexed_frame(index, width, height), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def damaged(folder: Path) -> list[Case]:
    """A file cut short, and one with other bytes in its middle."""
    faststart = {"movflags": "faststart"}
    path = make_video(folder / "cut.mp4", FRAMES, container_options=faststart, options={**ONE, "g": "10", "bf": "2"})
    data, packets = path.read_bytes(), _packets(path)
    cut = packets[36][0] + 10  # a few bytes into the 37th packet
    path.write_bytes(data[:cut])
    whole = sorted(time for start, stop, time in packets if stop <= cut)
    harmed = [time for start, stop, time in packets if start < cut < stop]
    short = Case("cut short", str(path), [(t, t // STEP_MS) for t in whole], tuple(harmed))

    path = make_video(folder / "corrupt.mp4", FRAMES, options={**ONE, "g": "10", "bf": "0"})
    data, packets = path.read_bytes(), _packets(path)
    first, last = packets[33][0] + 20, packets[34][1]  # in the fourth group of ten frames
    rubbish = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(data[:first] + rubbish + data[last:])
    good = [(t, i) for t, i in evenly() if not 33 <= i < 40]
    return [
        short,
        Case("wrong bytes in the middle", str(path), good, tuple(range(33 * STEP_MS, 40 * STEP_MS, STEP_MS))),
    ]


def _packets(path: Path) -> list[tuple[int, int, int]]:
    """(first byte, byte after the last, time in ms) of each packet, as they stand in the file."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(p.pos, p.pos + p.size, round(float(p.pts * p.time_base) * 1000)) for p in packets]


MAKERS: tuple[Callable[[Path], list[Case]], ...] = (plain, packed, timed, turned, changing, damaged)


def make_cases(folder: Path) -> list[Case]:
    """Write every file into the folder."""
    return [case for make in MAKERS for case in make(folder)]
