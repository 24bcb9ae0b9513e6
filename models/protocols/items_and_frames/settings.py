"""Settings of the protocol that ranks items and the frames of an item (JIFR, §4)."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import WIDEST, FitSettings


@dataclass(frozen=True, kw_only=True)
class ItemsAndFramesSettings(FitSettings):
    """What the protocol needs, whatever is fitted under it. Defaults are the paper's."""

    standardise: Literal["centre", "scale", "none"] = "centre"
    """Frame features c → (c − mean) / rms, c / rms or c, over the frames of the training items; mean and rms stay in
    the checkpoint. The paper does not say. What all frames share adds a constant to a user's visual ratings, changes
    none of their frame rankings, and hides how frames differ."""
    least_ratings: int = 5
    """Users and items with fewer are left out (§4)."""
    validation_share: float = 0.1
    """Of the ratings (§4)."""
    test_share: float = 0.2
    """Of the ratings (§4)."""
    test_negatives: int = 1000
    """Unrated items that a user's test positives are ranked among (§4.1)."""
    test_repeats: int = 10
    """Draws of them; the figures are their mean (§4.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(test_negatives=WIDEST)
        self.at_least(least_ratings=1, test_negatives=1, test_repeats=1, validation_share=0, test_share=0)
        self.one_of(standardise=("centre", "scale", "none"))
        self.leaves_training(self.validation_share, self.test_share, most=0.9)
