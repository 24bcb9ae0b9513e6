"""Settings of the protocol that ranks segments (TransGRec, §4.1)."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import FitSettings


@dataclass(frozen=True, kw_only=True)
class SegmentSettings(FitSettings):
    """What the protocol needs, whatever is fitted under it. Defaults are the paper's."""

    standardise: Literal["centre", "scale", "none"] = "centre"
    """Features f → (f − mean) / rms, f / rms or f, with the mean vector and the root mean square length (one number) of
    the training items; both stay in the checkpoint. Without centring, what all segments share drowns the differences;
    at unit length a step of Adam moves g about as far as z, whatever the number of features."""
    split: Literal["last_video", "given"] = "last_video"
    """`last_video`: the paper's, of segments. `given`: items are whole videos, each event belongs to the part that its
    source names (train, validation or test), and the videos that no training user touched are ranked."""
    least_videos: int = 5
    """Users with at least so many distinct videos give their last one to the test."""
    validation_share: float = 0.1
    """Share of the positives outside the test."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(least_videos=2)
        self.at_most(validation_share=0.9)
        self.one_of(standardise=("centre", "scale", "none"), split=("last_video", "given"))
