"""Turns frames upright, scales and crops them, with the swscale of PyAV for every decoder."""

from io import BytesIO
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from reelmill.extractors.core.frames import Geometry

Frame: TypeAlias = av.VideoFrame
"""A decoded frame, not yet scaled."""


class Scaler:
    """Scales, turns upright and crops frames. One for each geometry and video; frames of a video may differ in size."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._scaler = VideoReformatter()

    def __call__(self, frame: Frame) -> np.ndarray:
        """(crop height, crop width, 3) uint8 RGB. Scaling comes before turning: the result is the same, and fewer bytes
        are moved."""
        turns = quarter_turns(frame)
        height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
        height, width = self.geometry.scaled(height, width)
        coded = (height, width) if turns % 2 else (width, height)
        scaled = self._scaler.reformat(
            frame, width=coded[0], height=coded[1], format="rgb24", interpolation=self.geometry.filter.upper(),
            threads=1,  # its default is one a core, and videos are decoded side by side
        )  # fmt: skip
        picture = np.rot90(scaled.to_ndarray(), turns)
        crop_height, crop_width = self.geometry.crop
        top, left = self.geometry.corner(height, width)
        return np.ascontiguousarray(picture[top : top + crop_height, left : left + crop_width])


def quarter_turns(frame: Frame) -> int:
    """Quarter turns counter-clockwise that show the frame upright, 0 to 3, from the display matrix."""
    return round(frame.rotation / 90) % 4


def thumbnail(frame: Frame, height: int) -> tuple[int, int, bytes]:
    """(width, height, JPEG) of an upright frame scaled to this height, for people."""
    turned = quarter_turns(frame) % 2
    shown = (frame.height, frame.width) if turned else (frame.width, frame.height)
    width = max(2, round(shown[0] * height / shown[1]))
    scaler = Scaler(Geometry(crop=(height, width), scale_to=(height, width), filter="area"))
    buffer = BytesIO()
    Image.fromarray(scaler(frame)).save(buffer, "JPEG", quality=80)
    return width, height, buffer.getvalue()
