"""How frames are scaled, cropped and grouped into windows. No torch, so that decoding processes stay small.

A decoder scales each frame once for each distinct `Geometry`, crops it, and returns windows as uint8 RGB arrays
(length, height, width, 3). All arithmetic on pixel values is done by the extractor.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from reelmill.storage.spec import Rows

ROUNDING_MS = 0.001
"""Times of frames are rounded to it: a frame that begins at the very time that is wanted is on screen then."""


@dataclass(frozen=True)
class Geometry:
    """Scale a frame (upright, after rotation), then crop its centre.

    Exactly one of `scale_to` and `short_side` is given. The crop of C3D: rows 8–119, columns 29–140 of 128 × 171.

    The networks were trained on frames scaled by other libraries than swscale, which interpolates at fewer points and
    rounds more coarsely. Pixels of VGG-19 differ from those of torchvision's own transform by 1.2 to 1.5 levels of 255
    on average and by 7 at most (25 where frames are enlarged); the cosine between the resulting fc6 and fc7 is 0.9997
    (rendered scenes, random weights).
    """

    crop: tuple[int, int]
    """(height, width) of the crop."""
    scale_to: tuple[int, int] | None = None
    """(height, width): the aspect ratio is not kept."""
    short_side: int | None = None
    """Length of the shorter side; the longer one becomes int(long · short_side / short): the aspect ratio is kept."""
    filter: Literal["bilinear", "area", "bicubic"] = "bilinear"
    """Filter of the decoder's scaler (swscale), which antialiases when it makes frames smaller."""
    centre: Literal["half_even"] | None = None
    """Where the crop starts if an odd number of rows or columns is removed, as of frames of 16 : 9. None:
    (h − crop_h) // 2, so the smaller half is removed in front; half_even: round((h − crop_h) / 2), as torchvision."""

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) to which a frame of this height and width is scaled."""
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
        """The fields that are given, for the spec."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Windows:
    """Which frames of a segment form windows. A window never extends beyond its segment.

    A frame is on screen from its timestamp until the next one's. The frames of a segment are those on screen in it: the
    one that is held from before, unless a frame begins with the segment, and those that begin in it.

    `consecutive`: `length` neighbouring frames. Without `count`, windows follow one another from the segment's first
    frame (a shorter rest is dropped unless it is the only window); with it, k = `count` windows are evenly spaced:
    window j starts at frame round((j + 0.5) · (n − length) / k) of the segment's n frames.

    `timed`: the frames that are on screen at `length` times, the middles of cells of `step_ms` (a segment shorter than
    a cell is one cell). Without `count`, windows follow one another from the segment's start; with it, they are evenly
    spaced in the same manner. A window that begins before the first frame of the video that can be decoded is dropped.

    A row's mask is PADDED if a frame had to be repeated: the segment has too few frames for a window, a frame could not
    be decoded, or the window shows nothing but the frame that is held from before the segment.
    """

    kind: Literal["consecutive", "timed"]
    length: int
    step_ms: float = 0.0
    """Time between the frames of a `timed` window."""
    count: int | None = None
    """Windows for each segment; None: as many as fit."""

    def describe(self) -> dict[str, Any]:
        """The fields that are given, for the spec."""
        return {**asdict(self), "padding": "repeat_last"}

    def choose(
        self, times_ms: np.ndarray, start_ms: int, stop_ms: int, ends_ms: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The frames that form a segment's windows.

        times_ms: (n,) when each frame on screen in the segment [start_ms, stop_ms) begins, ascending, n ≥ 1; the first
        one may begin before the segment. ends_ms: (n,) until when each is on screen; None: until the next one begins.
        Returns the indices of the frames, (windows, length), and whether a frame had to be repeated, (windows,).
        """
        held = bool(times_ms[0] < start_ms)
        if self.kind == "consecutive":
            return self._consecutive(len(times_ms), held)
        if ends_ms is None:
            ends_ms = np.append(times_ms[1:], stop_ms)
        return self._timed(times_ms, ends_ms, start_ms, stop_ms, held)

    def _consecutive(self, frames: int, held: bool) -> tuple[np.ndarray, np.ndarray]:
        spare = frames - self.length
        if spare < 0:
            return np.minimum(np.arange(self.length), frames - 1)[None], np.array([True])
        if self.count is None:
            starts = np.arange(0, spare + 1, self.length)
        else:
            starts = np.unique(np.round((np.arange(self.count) + 0.5) * spare / self.count).astype(int))
        return starts[:, None] + np.arange(self.length), np.full(len(starts), held and frames == 1)

    def _timed(
        self, times_ms: np.ndarray, ends_ms: np.ndarray, start_ms: int, stop_ms: int, held: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        segment = stop_ms - start_ms
        step = min(self.step_ms, segment) if self.length == 1 else self.step_ms
        spare = segment - self.length * step
        starts: np.ndarray = np.zeros(1)
        if spare > 0 and self.count is None:
            starts = np.arange(int(segment / (self.length * step) + 1e-9)) * self.length * step
        elif spare > 0 and self.count is not None:
            starts = (np.arange(self.count) + 0.5) * spare / self.count
        wanted = start_ms + starts[:, None] + (np.arange(self.length) + 0.5) * step + ROUNDING_MS
        indices = np.searchsorted(times_ms, wanted, side="right") - 1
        repeated = np.any(wanted >= np.minimum(ends_ms, stop_ms)[indices], axis=1)
        shown = np.all(indices >= 0, axis=1)
        return indices[shown], (repeated | (held & np.all(indices == 0, axis=1)))[shown]


@dataclass(frozen=True)
class FramePlan:
    """Windows of frames: how each frame is scaled, and which frames form a window."""

    geometry: Geometry
    """How each frame is scaled and cropped."""
    windows: Windows
    """Which frames form a window."""
    dtype: ClassVar = np.uint8

    def shape(self, segment_ms: int = 0) -> tuple[int, ...]:
        """Shape of a window, (length, height, width, 3), which does not depend on the length of a segment."""
        return (self.windows.length, *self.geometry.crop, 3)

    def rows(self, rows: Literal["segment", "window"]) -> Rows:
        """What a row of the store is: the user's choice."""
        return rows

    def describe(self, segment_ms: int) -> dict[str, Any]:
        """Which frames form a window, for the spec. The extractor adds what is done to a frame."""
        return {**self.windows.describe(), "segment_ms": segment_ms}
