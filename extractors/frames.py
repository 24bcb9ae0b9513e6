"""How an extractor wants its frames. Plain data without torch, so that decoding processes stay small.

A decoder scales each frame once per distinct `Geometry`, crops it, and hands windows over as uint8 RGB arrays
(length, height, width, 3). All arithmetic on pixel values is the extractor's own.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Geometry:
    """Scale a frame (upright, after rotation), then cut the centre.

    Exactly one of `scale_to` and `short_side` is given. The crop of a (h, w) frame starts at row (h − crop_h) // 2 and
    column (w − crop_w) // 2; for C3D: rows 8–119, columns 29–140 of 128 × 171.
    """

    crop: tuple[int, int]
    """(height, width) of the cut."""
    scale_to: tuple[int, int] | None = None
    """(height, width): the aspect is not kept."""
    short_side: int | None = None
    """The shorter side becomes this long, the longer int(long · short_side / short): the aspect is kept."""
    filter: Literal["bilinear", "area", "bicubic"] = "bilinear"
    """Filter of the decoder's scaler (swscale), which antialiases when it shrinks."""

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a frame of this height and width is scaled to."""
        if self.scale_to is not None:
            return self.scale_to
        assert self.short_side is not None
        if height <= width:
            return self.short_side, max(self.crop[1], int(width * self.short_side / height))
        return max(self.crop[0], int(height * self.short_side / width)), self.short_side

    def describe(self) -> dict[str, Any]:
        """For the spec."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Windows:
    """Which frames of a segment form windows. A window never leaves its segment.

    `consecutive`: runs of `length` neighbouring frames. Every run, one after another from the segment's first frame (a
    shorter rest is dropped unless it is the only one), or `count` runs whose starts are evenly spaced: run j of k starts
    at frame round((j + 0.5) · (n − length) / k) of the segment's n frames.

    `timed`: frames at `length` times `step_ms` apart, frame = the last one shown at or before that time (the segment's
    first frame, if none is). Every window: one after another from the segment's start; or `count`, evenly spaced.
    A single-frame window stands for a cell of `step_ms` and takes the frame at the cell's middle.

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
