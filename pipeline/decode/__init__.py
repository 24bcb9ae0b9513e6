"""Frames of a video with their timestamps. One interface, three decoders.

    container    the file: times of packets, limits (`pipeline/containers.py` lists the formats)
    streams      which stream of a file is its picture, which is its sound
    timeline     the clock of a file: one timeline, also where timestamps are reset or jump
    programmes   the parts of such a file, and by how much each is shifted
    pyav         the default: correct for every kind of file in the tests
    decord       for comparison; wrong for some kinds of files
    torchcodec   for comparison; wrong for some kinds of files, and it needs the system's FFmpeg libraries
    scale        frames turned upright, scaled, cropped
    excerpt      frames of a part, after a seek whose result is checked

A picture is on screen from its timestamp until the next one's: `frames` says from when until when, in one place for all
decoders. Each decoder's file has the same three functions: `load`, `identity`, `frames`. All read forward once and
never seek, since every segment of a video is needed anyway (except in `excerpt`). Which decoder returns which frame is
a table in `pipeline/README.md`, tested by `tests/pipeline/test_decoders.py` on videos with the index of each frame in
its pixels.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from reelmill.pipeline.decode import decord, pyav, torchcodec
from reelmill.pipeline.decode.container import Scan, Tally, check_magic, open_video, scan
from reelmill.pipeline.decode.limits import Limits, bounded_sound
from reelmill.pipeline.decode.programmes import Jump
from reelmill.pipeline.decode.pyav import read_frames
from reelmill.pipeline.decode.scale import SQUARE, Frame, Scaler, quarter_turns, shown_size, thumbnail
from reelmill.pipeline.decode.streams import BY_RULE, Streams, audio_stream
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.process.child import Child
from reelmill.storage.errors import InputError

__all__ = [
    "BY_RULE", "SQUARE", "Decoder", "Frame", "Jump", "Limits", "Picture", "Scaler", "Scan", "Streams", "Tally",
    "audio_stream", "bounded_sound", "check_magic", "frames", "identity", "loader", "memory_bytes", "open_video",
    "quarter_turns", "read_frames", "scan", "shown_size", "thumbnail",
]  # fmt: skip

Decoder: TypeAlias = Literal["pyav", "decord", "torchcodec"]

FRAMES = {"pyav": pyav.frames, "decord": decord.frames, "torchcodec": torchcodec.frames}
"""Of each decoder: (time in ms since `start`, frame), times never decreasing, and None in place of a frame where from
this time on nothing can be shown: a frame that cannot be decoded, or the end."""

LOADED_BYTES = {"pyav": 0, "decord": 0, "torchcodec": 1 << 30}
"""Memory of a library before it opens a file: torchcodec imports torch, 0.9 GiB of private memory."""


class Picture(NamedTuple):
    """A frame, and when it is on screen: [time_ms, stop_ms), in ms since the first frame."""

    time_ms: float
    stop_ms: float
    """When the next frame begins; or where nothing more can be decoded, or the video ends."""
    frame: Frame


def frames(
    path: str | Path, decoder: Decoder, start: float, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[Picture]:
    """The frames of a video, in the order and at the times that the decoder gives.

    `start`: seconds on the container's clock, and `streams`, both from the probe. Errors are counted in `tally`: PyAV
    continues after a packet that it cannot decode, the others end there, and the frames before it are kept. Raises
    NotFound, Unsupported, Corrupt, NoVideoStream, TooManyPixels, TooLong.
    """
    held: tuple[float, Frame] | None = None
    for time_ms, frame in FRAMES[decoder](path, start, limits, tally, streams):
        if held is not None:
            yield Picture(held[0], time_ms, held[1])
        held = None if frame is None else (time_ms, frame)


@cache
def identity(decoder: Decoder) -> str:
    """Decoder and scaler, which change the pixels and so are part of every spec.

    Raises InputError if the library cannot be loaded here. That is tried in a child process, where it cannot
    conflict with the libraries of the networks.
    """
    if decoder == "pyav":
        return pyav.identity()
    try:
        with Child(
            f"reelmill.pipeline.decode.{decoder}:identify", memory_bytes=memory_bytes(decoder, Limits())
        ) as child:
            (name,) = child.run(None, limit_s=120)
    except VideoError as error:
        raise InputError(f"extract.decoder: {decoder}: {error}; or use `extract.decoder: pyav`") from error
    return name


def loader(decoder: Decoder) -> str:
    """What a decoding process runs at its start, so that loading the library does not count as time of the first
    video."""
    return f"reelmill.pipeline.decode.{decoder}:load"


def memory_bytes(decoder: Decoder, limits: Limits) -> int:
    """Private memory of a process that decodes with this library."""
    return limits.memory_bytes + LOADED_BYTES[decoder]
