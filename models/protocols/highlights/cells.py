"""Pieces of videos on a common clock: the steps of a store, and the segments of the grid."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reelmill.models.data.arrays import spans, video_key


@dataclass(frozen=True)
class Cells:
    """Pieces of videos, by video, then by time: steps or segments."""

    start: np.ndarray
    """(V + 1,) int64: video v has cells start[v] … start[v + 1] − 1."""
    start_ms: np.ndarray
    """(N,) int64."""
    stop_ms: np.ndarray
    """(N,) int64, exclusive."""

    def __len__(self) -> int:
        return len(self.start_ms)

    @cached_property
    def video(self) -> np.ndarray:
        """(N,) the video of each."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def covered(self, video: np.ndarray, start_ms: np.ndarray, stop_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (n,) of range and cell, by range, then by cell, of ranges (R,): more than half of the cell is covered,
        or the cell is the one of which the range covers most milliseconds. A range that touches no cell has none."""
        if not len(self):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # The last stop so far, should cells of a video overlap: then no cell is missed.
        last_stop = np.maximum.accumulate(video_key(self.video, self.stop_ms))
        first = np.searchsorted(last_stop, video_key(video, start_ms), side="right")
        beyond = np.searchsorted(video_key(self.video, self.start_ms), video_key(video, stop_ms), side="left")
        size = np.maximum(beyond - first, 0)
        of, cell = np.repeat(np.arange(len(size)), size), spans(first, size)
        covered = np.minimum(self.stop_ms[cell], stop_ms[of]) - np.maximum(self.start_ms[cell], start_ms[of])
        touched = covered > 0
        of, cell, covered = of[touched], cell[touched], covered[touched]
        chosen = 2 * covered > self.stop_ms[cell] - self.start_ms[cell]
        best = np.lexsort((-covered, of))
        best = best[np.diff(of[best], prepend=-1) != 0]
        alone = best[~np.isin(of[best], of[chosen])]
        kept = np.union1d(np.flatnonzero(chosen), alone)
        return of[kept], cell[kept]
