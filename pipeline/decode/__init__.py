"""Frames of a video, each proven by its timestamp. One interface, three decoders.

    container    the file: what is let in, what its packets say, the limits
    pyav         the default: right for every kind of file in the tests
    decord       for comparison; wrong for some kinds of files
    torchcodec   for comparison; wrong for some kinds of files, and it needs the system's FFmpeg libraries
    scale        frames upright, scaled, cut
    excerpt      frames of a part, behind a seek that proves itself

Each decoder's file has the same three functions: `load`, `identity`, `frames`. All read once forward and never seek,
since every segment of a video is wanted anyway (but for `excerpt`). Which decoder gives which frame back is a table in
`pipeline/README.md`, held by `tests/pipeline/test_decoders.py` from videos that carry each frame's index in its pixels.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from reelmill.pipeline.decode import decord, pyav, torchcodec
from reelmill.pipeline.decode.container import Limits, Scan, Tally, bounded_sound, check_magic, open_video, scan
from reelmill.pipeline.decode.pyav import read_frames
from reelmill.pipeline.decode.scale import Frame, Scaler, quarter_turns, thumbnail
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.process.child import Child
from reelmill.storage.errors import InputError

__all__ = [
    "Decoder", "Frame", "Limits", "Scaler", "Scan", "Tally", "bounded_sound", "check_magic", "frames", "identity",
    "loader", "memory_bytes", "open_video", "quarter_turns", "read_frames", "scan", "thumbnail",
]  # fmt: skip

Decoder: TypeAlias = Literal["pyav", "decord", "torchcodec"]

FRAMES = {"pyav": pyav.frames, "decord": decord.frames, "torchcodec": torchcodec.frames}

LOADED_BYTES = {"pyav": 0, "decord": 0, "torchcodec": 1 << 30}
"""What a library takes before it opens a file: torchcodec imports torch, 0.9 GiB of private memory."""


def frames(
    path: str | Path, decoder: Decoder, start: float, limits: Limits, tally: Tally
) -> Iterator[tuple[int, Frame]]:
    """(time in ms since `start`, frame), in the order and at the times that the decoder says.

    `start`: seconds on the container's clock, from the probe. What happens is counted in `tally`: PyAV goes on after a
    packet that it cannot decode, the others end there, and what came before is kept. Raises NotFound, Unsupported,
    Corrupt, NoVideoStream, TooManyPixels, TooLong.
    """
    return FRAMES[decoder](path, start, limits, tally)


@cache
def identity(decoder: Decoder) -> str:
    """Goes into every spec: decoder and scaler change the pixels.

    Raises InputError if the library cannot be loaded here. That is tried in a process of its own, where it cannot get
    in the way of the libraries that the networks have loaded in this one.
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
    """What a decoding process runs while it starts, so that loading a library is not part of the first video's time."""
    return f"reelmill.pipeline.decode.{decoder}:load"


def memory_bytes(decoder: Decoder, limits: Limits) -> int:
    """Private memory of a process that decodes with this library."""
    return limits.memory_bytes + LOADED_BYTES[decoder]
