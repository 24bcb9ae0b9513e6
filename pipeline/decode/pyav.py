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
from reelmill.pipeline.decode.timeline import Timeline, exact_start, in_ms
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
) -> Iterator[tuple[float, Frame | None]]:
    """See `reelmill.pipeline.decode.FRAMES`."""
    with open_video(path, limits, streams) as (container, stream):
        yield from read_frames(container, stream, start, limits, tally)


def read_frames(
    container: av.container.InputContainer, stream: av.VideoStream, start: float, limits: Limits, tally: Tally
) -> Iterator[tuple[float, Frame | None]]:
    """(time in ms since `start`, frame), in presentation order, times never decreasing; errors are counted in `tally`.

    None in place of a frame: from this time on nothing can be shown, because a packet could not be decoded or the
    stream has ended, until the next frame comes.
    """
    spare = 1 / float(stream.average_rate) if stream.average_rate else 0.04
    start = exact_start(stream, start)
    packets = Timeline(container, stream)
    # a program stream has times for some of its frames only; of the others libavformat guesses them
    coarse = container.format.name == "mpeg"
    waiting: deque[Frame] = deque()
    times: list[float] = []
    lost: list[float] = []
    latest = 0.0

    def shown() -> Iterator[tuple[float, Frame | None]]:
        nonlocal latest
        time = in_ms(heapq.heappop(times) - start)
        while lost and in_ms(lost[0] - start) <= time:
            begun = in_ms(heapq.heappop(lost) - start)
            if latest < begun < time:
                yield begun, None
        latest = max(latest, time)
        yield latest, waiting.popleft()

    for frame in _decode(packets, lost, tally):
        tally.frames += 1
        tally.damaged += frame.is_corrupt
        if tally.frames > limits.max_frames:
            raise TooLong(f"{container.name}: more than {limits.max_frames:,} frames, which no setting allows")
        waiting.append(frame)
        time = frame.dts if frame.dts is not None and (coarse or frame.pts is None) else frame.pts
        heapq.heappush(times, start + latest / 1000 + spare if time is None else float(time * stream.time_base))
        if len(waiting) > REORDER:
            yield from shown()
    while waiting:
        yield from shown()
    stop = packets.listed_stop(start)
    if packets.lacks_bytes:
        stop = min(stop, packets.stop)
    yield max(latest, in_ms(min([*lost, stop]) - start)), None


def _decode(packets: Timeline, lost: list[float], tally: Tally) -> Iterator[Frame]:
    """The frames of the packets; the times of those that cannot be decoded are pushed on the heap `lost`."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.errors += 1
            if (time := packet.pts if packet.pts is not None else packet.dts) is not None:
                heapq.heappush(lost, float(time * packet.time_base))
            continue
        yield from frames
    tally.errors += packets.cut_short
