"""The container file: which formats are accepted, and the times of its packets. Nothing is decoded here.

The first bytes are checked before a library opens the file: a text file named .mp4 can make a demuxer read other files.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from reelmill.pipeline.containers import CONTAINERS, HEAD_BYTES, is_known
from reelmill.pipeline.decode.limits import Limits
from reelmill.pipeline.decode.programmes import Jump
from reelmill.pipeline.decode.shown import is_shown
from reelmill.pipeline.decode.streams import BY_RULE, Streams, is_cover, open_file, video_stream
from reelmill.pipeline.decode.timeline import Timeline
from reelmill.pipeline.errors import Corrupt, NotFound, NoVideoStream, TooLong, TooManyPixels, Unsupported

ROUNDING = 1 << 20
"""Pixels by which a coded frame may be larger than the one that is shown: codecs round its sides up to blocks."""


@dataclass(frozen=True)
class Scan:
    """Times of the packets of the video stream, in seconds on the container's clock (`timeline`). Read without
    decoding."""

    start: float
    stop: float
    """End of the last frame that is in the file."""
    whole_stop: float
    """End of the last frame by the index of the file: later than `stop` if the file is truncated, or ends with empty
    chunks (AVI) in which the last frame stays."""
    times: np.ndarray
    """(frames,) float64, presentation times in ascending order; without those that are not shown (edit lists, alternate
    references)."""
    jumps: tuple[Jump, ...] = ()
    """Where the clock of the file was reset or jumped; the times are those of the repaired one."""


@dataclass
class Tally:
    """What was decoded of a video, and the errors."""

    frames: int = 0
    errors: int = 0
    """Packets that could not be decoded."""
    damaged: int = 0
    """Frames that the decoder itself flags as corrupt; they are used."""
    sound_seconds: float = 0.0
    """Seconds of sound that were decoded."""
    sound_errors: int = 0
    """Packets of sound that could not be decoded."""
    cpu_seconds: float = 0.0
    """Processor time for decoding, scaling and cutting."""


@contextlib.contextmanager
def open_video(
    path: str | Path, limits: Limits, streams: Streams = BY_RULE
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file for decoding, and close it again; its stream of picture is chosen by `streams.video_stream`.

    `streams`: those of the table `media`. Raises NotFound, Unsupported, Corrupt,
    NoVideoStream, TooManyPixels.
    """
    check_magic(Path(path))
    try:
        container = open_file(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise Corrupt(f"{path} cannot be opened as a video ({reason(error)})") from error
    with container:
        stream = video_stream(container, streams.video)
        if stream is None:
            if any(not is_cover(s) for s in container.streams.video):
                raise Corrupt(f"{path}: its video stream has no known codec or size")
            raise NoVideoStream(f"{path} has no video stream")
        pixels = stream.codec_context.width * stream.codec_context.height
        if pixels > limits.max_pixels:
            raise TooManyPixels(
                f"{path}: {pixels} pixels a frame, the limit is {limits.max_pixels} (extract.max_pixels)"
            )
        # A stream may grow behind its header: the decoder asks before it makes room for a frame.
        stream.codec_context.options = {**stream.codec_context.options, "max_pixels": str(limits.max_pixels + ROUNDING)}
        stream.thread_type = "NONE"  # videos are decoded side by side; threads inside one cost more than they give
        yield container, stream


def check_magic(path: Path) -> None:
    """Raise unless the first bytes are those of a container on the list."""
    if not path.is_file():
        raise NotFound(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise Corrupt(f"{path} is empty (0 bytes)")
    if not is_known(head):  # what it holds instead is not said: any file of this machine can be named as a video
        raise Unsupported(f"{path} is not a video file of a known container ({', '.join(c.name for c in CONTAINERS)})")


def scan(container: av.container.InputContainer, stream: av.VideoStream, limits: Limits) -> Scan:
    """Read the times of all packets without decoding. Raises Corrupt if there are none, TooLong if there are more than
    allowed. Afterwards the container is at its end."""
    times: list[float] = []
    base, codec = float(stream.time_base or 0), stream.codec_context.codec.canonical_name
    packets = Timeline(container, stream)
    for packet in packets:
        if packets.count > limits.max_frames:
            raise TooLong(f"{container.name}: more than {limits.max_frames:,} frames, which no setting allows")
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or not packet.size or packet.is_discard or not is_shown(packet, codec):
            continue
        times.append(time * base)
    if not times:
        raise Corrupt(f"{container.name}: its video stream holds no packet")
    start = min(times)
    whole_stop = packets.listed_stop(start)
    return Scan(start, min(packets.stop, whole_stop), whole_stop, np.sort(np.array(times)), tuple(packets.jumps))


def reason(error: Exception) -> str:
    """The message of a library, without the native stack trace that some add."""
    words = str(getattr(error, "strerror", None) or error).strip()
    return words.splitlines()[0] if words else type(error).__name__
