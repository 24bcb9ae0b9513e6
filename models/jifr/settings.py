"""Settings of JIFR (Wu et al., IJCAI 2019). Equation and section numbers are the paper's."""

from dataclasses import dataclass
from typing import Literal, Self

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.items_and_frames.settings import ItemsAndFramesSettings


@dataclass(frozen=True, kw_only=True)
class JIFRSettings(ItemsAndFramesSettings):
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
    below what they did not."""
    l2: float = 1e-3
    """λ₁ of eq. 3, on the rows of U, V and W in the batch; the paper tried 1e-4 to 0.1."""
    negatives: int = 10
    """For each positive, from the items that its user did not rate; drawn anew each epoch (§3.1)."""
    init_std: float = 0.1
    """Of U, V, W, P and W⁰. The paper does not say."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, hidden=WIDEST, negatives=WIDEST)
        self.at_least(dim=1, hidden=1, l2=0, negatives=1, init_std=0)
        self.one_of(objective=("log_sigmoid", "as_printed"))

    @classmethod
    def averaging(cls, **settings: object) -> Self:
        """JIFR_NA, without any attention: VBPR on averaged frames (§3.2), its ratings times ½."""
        return cls.from_dict({"visual_attention": False, "rating_attention": False, **settings})
