"""PyAV: one forward pass in presentation order, never a seek.

The *order* of the decoder is trusted; timestamps that are out of order (packed B-frames in AVI) are sorted over a few
frames. A packet that cannot be decoded is counted, and decoding continues with the next.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av

from reelmill.pipeline.decode.container import Tally, open_video
from reelmill.pipeline.decode.limits import Limits
from reelmill.pipeline.decode.scale import Frame
from reelmill.pipeline.decode.streams import BY_RULE, Streams
from reelmill.pipeline.errors import TooLong

REORDER = 4
"""Frames over which timestamps that are out of order are sorted."""


def load() -> None:
    """Does nothing: every decoding process has loaded PyAV, which also opens the file for the other decoders."""


def identity() -> str:
    """Decoder and scaler, both of PyAV."""
    return f"pyav-{av.__version__}-in-order-swscale"


def frames(
    path: str | Path, start: float, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[tuple[int, Frame]]:
    """See `reelmill.pipeline.decode.frames`."""
    with open_video(path, limits, streams) as (container, stream):
        yield from read_frames(container, stream, start, limits, tally)


def read_frames(
    container: av.container.InputContainer, stream: av.VideoStream, start: float, limits: Limits, tally: Tally
) -> Iterator[tuple[int, Frame]]:
    """(time in ms since `start`, frame), in presentation order, times never decreasing; errors are counted in
    `tally`."""
    waiting: deque[Frame] = deque()
    times: list[float] = []
    latest = 0
    spare = 1 / float(stream.average_rate) if stream.average_rate else 0.04
    for frame in _decode(container, stream, tally):
        tally.frames += 1
        tally.damaged += frame.is_corrupt
        if tally.frames > limits.max_frames:
            raise TooLong(f"{container.name}: more than {limits.max_frames} frames (limits.max_frames)")
        waiting.append(frame)
        heapq.heappush(times, frame.time if frame.time is not None else start + latest / 1000 + spare)
        if len(waiting) > REORDER:
            latest = max(latest, round((heapq.heappop(times) - start) * 1000))
            yield latest, waiting.popleft()
    while waiting:
        latest = max(latest, round((heapq.heappop(times) - start) * 1000))
        yield latest, waiting.popleft()


def _decode(container: av.container.InputContainer, stream: av.VideoStream, tally: Tally) -> Iterator[Frame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, IndexError):  # IndexError: a damaged file begins a stream in its middle
            tally.errors += 1
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.errors += 1
            continue
        yield from frames
