"""The segments of a video: segment i covers [i·L, min((i+1)·L, D)), with length L and duration D.

Segments are virtual: no file is cut. The last one may be short.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.bounds import ROW_BYTES, memory
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS

SEGMENT_MS = 5000


def count(duration_ms: np.ndarray, segment_ms: int = SEGMENT_MS) -> np.ndarray:
    """(videos,) int64: how many segments each video has; the last may be short."""
    if segment_ms <= 0:
        raise InputError(f"segment_ms is {segment_ms}; it must be positive")
    return -(-np.asarray(duration_ms, np.int64) // segment_ms)


def grid(
    video_ids: Sequence[str] | pa.Array,
    duration_ms: np.ndarray | Sequence[int],
    segment_ms: int = SEGMENT_MS,
    duration_source: str | pa.Array = "measured",
) -> pa.Table:
    """The `segments` table of some videos, by video in the order given, then by index.

    `duration_ms`: (videos,) integers. `duration_source`: `measured` or `claimed`, for all or (videos,) for each. Raises
    InputError if a duration is not positive, a video is given twice, or the grids do not fit into memory.
    """
    ids = video_ids if isinstance(video_ids, pa.Array) else pa.array(video_ids, pa.string())
    duration = np.asarray(duration_ms, np.int64)
    check_durations(ids, duration)
    segments = count(duration, segment_ms)
    if (total := int(segments.sum())) > (most := memory() // ROW_BYTES):
        longest = ids[int(np.argmax(duration))].as_py()
        raise InputError(
            f"{total:,} segments of {segment_ms} ms, memory holds {most:,}: video {longest!r} alone has "
            f"{segments.max():,}; are the claimed durations right? Longer segments are fewer (segments.segment_ms)"
        )
    video = np.repeat(np.arange(len(ids), dtype=np.int32), segments)
    first = np.cumsum(segments) - segments
    index = np.arange(len(video)) - first[video]
    start = index * segment_ms
    stop = np.minimum(start + segment_ms, duration[video])
    sources = duration_source if isinstance(duration_source, pa.Array) else pa.repeat(duration_source, len(ids))
    place = pa.array(video)
    columns = [ids.take(place), index.astype(np.int32), start, stop, sources.take(place)]
    return pa.table(columns, schema=SCHEMAS["segments"])


def check_durations(ids: pa.Array, duration: np.ndarray) -> None:
    """Raise InputError unless each video is listed once and has a positive duration."""
    if duration.shape != (len(ids),):
        raise InputError(f"{len(ids)} videos have durations of shape {duration.shape}; one each is needed")
    if (bad := np.flatnonzero(duration <= 0)).size:
        raise InputError(f"video {ids[bad[0]].as_py()!r} lasts {duration[bad[0]]} ms; a duration must be positive")
    if len(unique := pc.value_counts(ids)) < len(ids):
        twice = next(v for v in unique.to_pylist() if v["counts"] > 1)["values"]
        raise InputError(f"video {twice!r} is given more than once; one duration each")
