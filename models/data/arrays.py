"""Ids, times and ranges as arrays of integers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STRIDE = np.int64(1) << 36
"""More than a video has milliseconds or segments (two years)."""


def codes(column: pa.ChunkedArray | pa.Array, names: list[str]) -> np.ndarray:
    """Place (n,) int64 of each value in the list of names; −1 where it is not in it."""
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def video_key(video: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """One int64 for a place in a video, of numbers of videos (n,) and times in ms or indices of segments (n,): it rises
    with the video, then with the offset. `divmod(key, STRIDE)` gives both back."""
    return video.astype(np.int64) * STRIDE + offset


def spans(first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The numbers of ranges one after another: first[0] … first[0] + size[0] − 1, first[1] …, of (n,) each."""
    return np.arange(size.sum()) + np.repeat(first - (np.cumsum(size) - size), size)
