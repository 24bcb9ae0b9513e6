"""How sound is cut into windows. No torch and no librosa, so that decoding processes stay small.

A decoder returns windows as float32 arrays of one channel, full scale ±1, on the video's clock: sample n starts
n / rate seconds after the first frame. All windows of a plan have the same shape, so two values mean that there is no
sample:

    NO_SOUND    no sound at this time: it starts later, ends earlier, or has a gap
    NO_TIME     the segment, or the part of the video, has ended
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from reelmill.storage.spec import Rows

NO_SOUND = np.float32(np.nan)
NO_TIME = np.float32(np.inf)


@dataclass(frozen=True)
class SoundCell:
    """The time and samples that one window covers."""

    segment: int
    start_ms: int
    stop_ms: int
    samples: tuple[tuple[int, int], ...]
    """(first, end) samples of each row of the window, half-open, ascending."""


@dataclass(frozen=True)
class SoundPlan:
    """Windows of mono sound: one for each segment or, with `parts`, one for the whole video.

    A sample belongs to the range of time in which it starts. No window is made where there is no sample: its row is
    masked.
    """

    rate: int
    """Samples per second."""
    least: int
    """Samples that a row of a window needs. With fewer, or with any sample missing, the row's mask is PADDED."""
    parts: int | None = None
    """Equal parts into which the whole video is cut, each a row of its one window. None: a window for each segment."""
    part_ms: int = 5000
    """Longest part; of a longer one the middle is used, so that the size of a window is bounded."""
    dtype: ClassVar = np.float32

    def shape(self, segment_ms: int = 0) -> tuple[int, ...]:
        """Shape of a window: (samples,) for segments of this length, or (parts, samples)."""
        return (self._at(segment_ms),) if self.parts is None else (self.parts, self._at(self.part_ms))

    def cells(self, duration_ms: int, segment_ms: int) -> Iterator[SoundCell]:
        """The windows of a video in order of time."""
        if self.parts is None:
            for segment, start in enumerate(range(0, duration_ms, segment_ms)):
                stop = min(start + segment_ms, duration_ms)
                yield SoundCell(segment, start, stop, ((self._at(start), self._at(stop)),))
            return
        rows, most = [], self._at(self.part_ms)
        for part in range(self.parts):
            start, stop = (self._at(edge * duration_ms, self.parts) for edge in (part, part + 1))
            start += max(stop - start - most, 0) // 2
            rows.append((start, min(stop, start + most)))
        yield SoundCell(0, 0, duration_ms, tuple(rows))

    def rows(self, rows: Literal["segment", "window"]) -> Rows:
        """What a row of the store is: a window's segment or video, whatever the user chose for frames."""
        return "segment" if self.parts is None else "video"

    def describe(self, segment_ms: int) -> dict[str, Any]:
        """For the spec."""
        described = {"rate": self.rate, "channels": "mean", "clock": "first_frame", "least": self.least}
        if self.parts is None:
            return {**described, "segment_ms": segment_ms}
        return {**described, "parts": self.parts, "part_ms": self.part_ms, "part": "middle"}

    def _at(self, time_ms: int, divisor: int = 1) -> int:
        """Number of the first sample that starts at or after time_ms / divisor."""
        return -(-time_ms * self.rate // (1000 * divisor))
