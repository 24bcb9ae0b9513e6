"""How an extractor wants its frames. Without torch, so that decoding processes stay small.

A decoder scales each frame once per distinct `Geometry`, crops it, and hands windows over as uint8 RGB arrays
(length, height, width, 3). All arithmetic on pixel values is the extractor's own.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from reelmill.storage.spec import Rows


@dataclass(frozen=True)
class Geometry:
    """Scale a frame (upright, after rotation), then cut the centre.

    Exactly one of `scale_to` and `short_side` is given. The crop of C3D: rows 8–119, columns 29–140 of 128 × 171.

    What trained the networks scaled by other means than swscale, which mixes colours at fewer points and rounds more
    coarsely: pixels of VGG-19 are 1.2 to 1.5 levels of 255 from those of torchvision's own transform on the mean, and
    7 at most, or 25 where it scales up; the cosine of fc6 and fc7 is then 0.9997 (rendered scenes, random weights).
    """

    crop: tuple[int, int]
    """(height, width) of the cut."""
    scale_to: tuple[int, int] | None = None
    """(height, width): the aspect is not kept."""
    short_side: int | None = None
    """The shorter side becomes this long, the longer int(long · short_side / short): the aspect is kept."""
    filter: Literal["bilinear", "area", "bicubic"] = "bilinear"
    """Filter of the decoder's scaler (swscale), which antialiases when it shrinks."""
    centre: Literal["half_even"] | None = None
    """Where the crop starts if an odd number of rows or columns is cut off: None: the smaller half is cut off in front,
    (h − crop_h) // 2; half_even: round((h − crop_h) / 2), as in torchvision. A frame of 16 : 9 is such a case."""

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a frame of this height and width is scaled to."""
        if self.scale_to is not None:
            return self.scale_to
        assert self.short_side is not None
        if height <= width:
            return self.short_side, max(self.crop[1], int(width * self.short_side / height))
        return max(self.crop[0], int(height * self.short_side / width)), self.short_side

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """(row, column) at which the crop of a scaled frame of this height and width starts."""
        if self.centre == "half_even":
            return round((height - self.crop[0]) / 2), round((width - self.crop[1]) / 2)
        return (height - self.crop[0]) // 2, (width - self.crop[1]) // 2

    def describe(self) -> dict[str, Any]:
        """For the spec."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Windows:
    """Which frames of a segment form windows. A window never leaves its segment.

    `consecutive`: runs of `length` neighbouring frames. Every run, one after another from the segment's first frame
    (a shorter rest is dropped unless it is the only one), or `count` runs whose starts are evenly spaced: run j of k
    starts at frame round((j + 0.5) · (n − length) / k) of the segment's n frames.

    `timed`: the frames shown at `length` times, in the middles of cells `step_ms` long (a segment shorter than a cell
    is one cell). The frame shown at a time is the last one that began at or before it; the segment's first frame, if
    none did. Every window: one after another from the segment's start; or `count`, evenly spaced in the same manner.

    Too few frames for a window: the last frame is repeated, and the row's mask says PADDED.
    """

    kind: Literal["consecutive", "timed"]
    length: int
    step_ms: float = 0.0
    """Spacing of the times of a `timed` window."""
    count: int | None = None
    """Windows a segment; None: every one."""

    def describe(self) -> dict[str, Any]:
        """For the spec."""
        return {**asdict(self), "padding": "repeat_last"}

    def choose(self, times_ms: np.ndarray, start_ms: int, stop_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of a segment's frames form its windows.

        times_ms: (n,) when each frame of the segment [start_ms, stop_ms) is shown, never falling, n ≥ 1. Returns the
        indices of the frames (windows, length) and, for each window, whether a frame had to be repeated for want of
        others (windows,).
        """
        if self.kind == "consecutive":
            return self._consecutive(len(times_ms))
        return self._timed(times_ms, start_ms, stop_ms)

    def _consecutive(self, frames: int) -> tuple[np.ndarray, np.ndarray]:
        spare = frames - self.length
        if spare < 0:
            return np.minimum(np.arange(self.length), frames - 1)[None], np.array([True])
        if self.count is None:
            starts = np.arange(0, spare + 1, self.length)
        else:
            starts = np.unique(np.round((np.arange(self.count) + 0.5) * spare / self.count).astype(int))
        return starts[:, None] + np.arange(self.length), np.zeros(len(starts), bool)

    def _timed(self, times_ms: np.ndarray, start_ms: int, stop_ms: int) -> tuple[np.ndarray, np.ndarray]:
        segment = stop_ms - start_ms
        step = min(self.step_ms, segment) if self.length == 1 else self.step_ms
        spare = segment - self.length * step
        starts: np.ndarray = np.zeros(1)
        if spare > 0 and self.count is None:
            starts = np.arange(int(segment / (self.length * step) + 1e-9)) * self.length * step
        elif spare > 0 and self.count is not None:
            starts = (np.arange(self.count) + 0.5) * spare / self.count
        wanted = start_ms + starts[:, None] + (np.arange(self.length) + 0.5) * step
        indices = np.maximum(np.searchsorted(times_ms, wanted, side="right") - 1, 0)
        return indices, np.any(wanted >= stop_ms, axis=1)


@dataclass(frozen=True)
class FramePlan:
    """Windows of frames."""

    geometry: Geometry
    """How each frame is scaled and cut."""
    windows: Windows
    """Which frames form a window."""
    dtype: ClassVar = np.uint8

    def shape(self, segment_ms: int = 0) -> tuple[int, ...]:
        """Of a window, whatever the length of a segment: (length, height, width, 3)."""
        return (self.windows.length, *self.geometry.crop, 3)

    def rows(self, rows: Literal["segment", "window"]) -> Rows:
        """What a row of the store is, given what the user wants: that."""
        return rows

    def describe(self, segment_ms: int) -> dict[str, Any]:
        """Which frames form a window, for the spec; what is done to a frame is the extractor's to say."""
        return {**self.windows.describe(), "segment_ms": segment_ms}
