"""Settings of BPR (Rendle et al., UAI 2009) and VBPR (He and McAuley, AAAI 2016)."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from reelmill.models.core.settings import AUTO, WIDEST, FitSettings
from reelmill.models.data.scale import Scale


@dataclass(frozen=True, kw_only=True)
class BPRSettings(FitSettings):
    """Neither paper names more than a few of these figures; both tune them on each set of data."""

    batch: int = 16384
    """Positives a step. The papers take one; a step's cost is that of the rows it touches. On MovieLens-1M (one seed)
    best validation ndcg@20 in 25 epochs is .218, .218 and .219 at 4096, 8192 and 16384; an epoch takes 1, 0.7, 0.5."""
    learning_rate: float = 0.05
    """Of Adagrad with one step size a row (`RowAdagrad`). The papers' is plain descent with a rate to be tuned."""
    dim: int = 64
    """K, of the vectors of users and items."""
    negatives: int = 1
    """For each positive, drawn evenly from the items of the training that its user has no positive of."""
    l2: float = 1e-3
    """λ_Θ, on γ, θ and β of the batch."""
    init_std: float = 0.1
    """Of γ, θ and E; biases start at zero."""
    liked: float | str = AUTO
    """Ratings from here on are positives: by default 1 where there is none but 0 and 1 (or −1, 0 and 1), else 0. Events
    that are no ratings, and ratings without a value, all are."""
    split: Literal["random", "last", "given"] = "random"
    """`random`: shares of all positives. `last`: of each user with at least three the newest tests and the one before
    validates. `given`: an event belongs to its source, which is called train, validation or test."""
    validation_share: float = 0.1
    """Of the positives; `random` alone needs it."""
    test_share: float = 0.2
    """The same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, negatives=WIDEST)
        self.at_least(dim=1, negatives=1, l2=0, init_std=0, validation_share=0, test_share=0)
        self.one_of(split=("random", "last", "given"))
        self.leaves_training(self.validation_share, self.test_share)

    def found_in(self, data: Any) -> Self:
        """With the threshold of the ratings' scale."""
        scale = Scale.of(data.value) if data.rated else None
        found = 1.0 if scale is not None and scale.says_no else 0.0
        return replace(self, liked=found) if self.liked == AUTO else self


@dataclass(frozen=True, kw_only=True)
class VBPRSettings(BPRSettings):
    """With as many numbers an item as BPR's, half of them from its features: the papers' comparison."""

    dim: int = 32
    """K, of γ."""
    visual_dim: int = 32
    """K′, of θ and E f."""
    l2_visual: float = 0.0
    """λ_E, on E and β′ as a whole (§"Model learning")."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(visual_dim=WIDEST)
        self.at_least(visual_dim=1, l2_visual=0)
