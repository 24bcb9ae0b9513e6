"""DropoutNet (Volkovs et al., NIPS 2017), which learns to do without preferences, under TransGRec's protocol."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.segments import videos
from reelmill.models.protocols.segments.settings import SegmentSettings


@dataclass(frozen=True, kw_only=True)
class DropoutNetSettings(SegmentSettings):
    """Figures of the network and its training are those of the authors' code; D is TransGRec's. At full size (some
    13,000 users) an epoch with the defaults has 650,000 steps: a batch of some thousands is quicker."""

    epochs: int = 10
    """At most so many passes over the users."""
    batch: int = 100
    """Pairs of user and item a step."""
    learning_rate: float = 5e-3
    """Of the optimiser. The authors divide it by 10 after every 50,000 users; here validation stops instead."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """`sgd` is stochastic gradient descent with momentum 0.9."""
    dim: int = 128
    """D, of the factorisation and of what the network makes of it."""
    hidden: int = 200
    """Width of the hidden layer of either tower."""
    dropout: float = 0.5
    """Share of the pairs of a batch without the item's preferences, and of those without the user's."""
    top: int = 2500
    """Items of highest predicted preference that each user is paired with in an epoch, and as many drawn evenly; at
    most half of the items."""
    alpha: float = 40.0
    """α of the factorisation: confidence 1 + α of a like."""
    wmf_l2: float = 0.1
    """λ of the factorisation."""
    sweeps: int = 15
    """Of alternating least squares."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(dim=1, hidden=1, batch=2, dropout=0, top=1, alpha=0, wmf_l2=0, sweeps=1)
        self.at_most(dim=WIDEST, hidden=WIDEST, top=WIDEST, dropout=1)
        self.one_of(optimiser=("sgd", "adam"))


RECOMMENDER = Recommender(
    name="dropoutnet",
    paper="Volkovs, Yu and Poutanen, DropoutNet: Addressing Cold Start in Recommender Systems, NIPS 2017",
    settings=DropoutNetSettings,
    roles={"features": "c3d-fc6"},
    load=videos.load,
    task=lazy("reelmill.models.baselines.dropoutnet.task:DropoutNetTask"),
    model=lazy("reelmill.models.baselines.dropoutnet.model:DropoutNet"),
    adviser=lazy("reelmill.models.baselines.dropoutnet.recommend:DropoutNetAdviser"),
    world=SharedWorld(
        of="transgrec",
        options={
            "dim": 16, "hidden": 64, "batch": 1000, "epochs": 20, "patience": 5, "optimiser": "adam",
            "learning_rate": 0.003, "top": 100, "alpha": 10.0, "wmf_l2": 1.0,
        },
        roles={"features": "features"},
    ),
    version=1,
)  # fmt: skip
