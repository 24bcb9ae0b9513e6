"""Settings of JIFR (Wu et al., IJCAI 2019). Equation and section numbers are the paper's."""

from dataclasses import dataclass
from typing import Literal, Self

from reelmill.models.core.settings import FitSettings
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class JIFRSettings(FitSettings):
    """JIFR by default; `JIFRSettings.averaging()` is JIFR_NA. Defaults are the paper's (§3.1, §4, §4.1).

    The rows of table 2 are the four values of (visual_attention, rating_attention).
    """

    batch: int = 256
    """Positives a step. The paper does not say; a step's cost is that of the frames of its distinct items."""
    dim: int = 32
    """d = d1 = d2; the paper tried 16, 32 and 64. Eq. 9 shares W² between the two spaces, so they must be equal."""
    hidden: int = 32
    """h, rows of W⁰, W¹ and W². The paper does not say."""
    visual_attention: bool = True
    """Eq. 5 to 7; off, every frame of an item weighs the same (eq. 1)."""
    rating_attention: bool = True
    """Eq. 8 to 10; off, β = (½, ½)."""
    attention_bias: bool = True
    """In the hidden layers of both networks. Eq. 6 and 9 print none; then a network's score is zero at zero and doubles
    with its input, whatever that is. Elsewhere a bias would change nothing: that of W⁰ is one of W¹, and those of w¹
    and w² cancel in the soft-max."""
    objective: Literal["log_sigmoid", "as_printed"] = "log_sigmoid"
    """−ln σ(r̂_ai − r̂_aj), which is BPR, or σ(r̂_ai − r̂_aj) as eq. 3 prints it; minimised, that ranks what a user liked
    below what she did not."""
    l2: float = 1e-3
    """λ₁ of eq. 3, on the rows of U, V and W in the batch; the paper tried 1e-4 to 0.1."""
    negatives: int = 10
    """For each positive, from the items that its user did not rate; drawn anew each epoch (§3.1)."""
    init_std: float = 0.1
    """Of U, V, W, P and W⁰. The paper does not say."""
    standardise: Literal["centre", "scale", "none"] = "centre"
    """Frame features c → (c − mean) / rms, c / rms or c, over the frames of the training items; mean and rms stay in
    the checkpoint. The paper does not say. What all frames share adds a constant to a user's visual ratings, changes
    none of her frame rankings, and drowns what tells frames apart."""
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
        self.at_least(dim=1, hidden=1, l2=0, negatives=1, init_std=0, least_ratings=1, test_negatives=1, test_repeats=1)
        self.at_least(validation_share=0, test_share=0)
        self.one_of(objective=("log_sigmoid", "as_printed"), standardise=("centre", "scale", "none"))
        if not self.validation_share + self.test_share <= 0.9:
            raise InputError(
                f"validation_share {self.validation_share} and test_share {self.test_share}: together at most 0.9, "
                "so that something is left to train on"
            )

    @classmethod
    def averaging(cls, **settings: object) -> Self:
        """JIFR_NA, without any attention: VBPR on averaged frames (§3.2), its ratings times ½."""
        return cls.from_dict({"visual_attention": False, "rating_attention": False, **settings})
