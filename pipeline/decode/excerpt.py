"""Frames of a part of a video, without decoding all that comes before it.

All other code here reads forward once. For a few seconds after an hour a seek is worth it, but only if its result can
be checked: a key frame with its own timestamp, not later than the wanted time. Otherwise the video is read from its
beginning.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av

from reelmill.pipeline.decode.container import Tally, open_video, scan
from reelmill.pipeline.decode.limits import Limits
from reelmill.pipeline.decode.pyav import read_frames
from reelmill.pipeline.decode.scale import Frame
from reelmill.pipeline.decode.streams import BY_RULE, Streams

AHEAD_S = 2.0
"""How long before the part to seek to: containers seek by decoding time, which is earlier than presentation time."""
WORTH_MS = 10_000
"""For a part that begins earlier than this there is no seek."""


def excerpt(
    path: str | Path, start: float, begin_ms: int, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[tuple[float, Frame]]:
    """(time in ms since `start`, frame) to the end of the video, beginning with a frame at or before `begin_ms` if
    there is one. `start`, limits and errors as in `reelmill.pipeline.decode.frames`."""
    if begin_ms > WORTH_MS and not _jumps(path, limits, streams):
        with open_video(path, limits, streams) as (container, stream):
            rest = _sought(container, stream, start, begin_ms, limits, tally)
            if rest is not None:
                yield from rest
                return
    with open_video(path, limits, streams) as (container, stream):
        yield from _decoded(container, stream, start, limits, tally)


def _jumps(path: str | Path, limits: Limits, streams: Streams) -> bool:
    """Whether the clock of the file is reset or jumps somewhere: then a time to seek to is not the time in the video.
    All packets are read, which takes a hundredth of decoding them."""
    with open_video(path, limits, streams) as (container, stream):
        return bool(scan(container, stream, limits).jumps)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, start: float, limits: Limits, tally: Tally
) -> Iterator[tuple[float, Frame]]:
    """Frames without the marks of what cannot be decoded: for people to look at, the frame before stays."""
    for time_ms, frame in read_frames(container, stream, start, limits, tally):
        if frame is not None:
            yield time_ms, frame


def _sought(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    start: float,
    begin_ms: int,
    limits: Limits,
    tally: Tally,
) -> Iterator[tuple[float, Frame]] | None:
    """Frames from a key frame that is early enough, or None if the seek does not lead to one."""
    if not stream.time_base:
        return None
    seconds = start + begin_ms / 1000 - AHEAD_S
    try:
        container.seek(round(seconds / float(stream.time_base)), stream=stream)
    except (av.FFmpegError, ValueError):  # the container has no index, or does not seek at all
        return None
    found = _decoded(container, stream, start, limits, tally)
    for time_ms, frame in found:
        if not frame.key_frame:
            continue  # what leans on a frame before the seek
        if frame.time is None or time_ms > begin_ms:
            return None
        return chain([(time_ms, frame)], found)
    return None
