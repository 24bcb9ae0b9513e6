"""Settings of the protocol that ranks the steps of a video (PR-Net, §3.4 and 4.1)."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import FitSettings


@dataclass(frozen=True, kw_only=True)
class HighlightSettings(FitSettings):
    """What the protocol needs, whatever is fitted under it. Defaults are the paper's."""

    window: int = 256
    """T in training. The paper's "256 frames" are steps: 256 raw frames are 16 steps, too few for the negatives of a
    highlight of three."""
    standardise: Literal["centre", "scale", "none"] = "centre"
    """Features f → (f − mean) / rms, f / rms or f, with the mean vector and the root mean square length (one number) of
    the training steps; both stay in the checkpoint. Features after a ReLU are never negative: without centring all of
    them point the same way, and the cosines of eq. 3 hardly differ. At unit length l and b start at about −1 to 1."""
    history_size: int = -1
    """At most so many past highlights, the newest; −1 takes all. 0 is PR-Net_h0, the same as PR-Net_G."""
    past: Literal["others", "earlier"] = "others"
    """A user's history for a video: their highlights in all other videos, or in those that they began before it."""
    tested: Literal["last", "every"] = "last"
    """Rank the last video of a test user, whose history is then what came before, or every one of theirs. The paper's
    data mark the last one; it does not say more."""
    validation_share: float = 0.07
    """Of the users; the paper has 9478 to train, 750 to validate and 675 to test (§4.1)."""
    test_share: float = 0.06
    """Of the users."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(window=1 << 20)
        self.at_least(window=1, history_size=-1, validation_share=0, test_share=0)
        self.one_of(standardise=("centre", "scale", "none"), past=("others", "earlier"), tested=("last", "every"))
        self.leaves_training(self.validation_share, self.test_share, most=0.9)
