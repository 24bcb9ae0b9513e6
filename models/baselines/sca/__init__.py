"""SCA: a map from what users post to what they watch (the Dynamic RNN's table 2)."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.baselines.cold_start import WORLD, ColdStartSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.data import load
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SCASettings(ColdStartSettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN, with its `network="cross"`. Each epoch tries
    one λ; there is no optimiser: `batch`, `learning_rate` and `patience` have no effect."""

    epochs: int = 100
    """As many λ at most."""
    patience: int = 0
    """0: every λ is tried."""
    l2: str = "0.01,0.1,1,10,100"
    """λ, one or several with commas between them: that of the best validation metric is kept."""
    space: Literal["topics", "factors"] = "topics"
    """What posts are mapped to: the topics of watched videos, or factors of watches as those of `lfm`."""
    dim: int = 64
    """Number of factors."""
    alpha: float = 40.0
    """α of the factors, as in `lfm`."""
    factors_l2: float = 10.0
    """λ of the factors."""
    sweeps: int = 15
    """Of the factors' least squares."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(dim=1, alpha=0, factors_l2=0, sweeps=1)
        self.at_most(dim=WIDEST, sweeps=WIDEST)
        self.one_of(space=("topics", "factors"))
        if not self.weights or not all(0 < weight < float("inf") for weight in self.weights):
            raise InputError(f"l2 {self.l2!r}: give numbers above 0 with commas between them, such as 0.1,1,10")

    @property
    def weights(self) -> list[float]:
        """Each λ to try; none if one is no number."""
        try:
            return [float(word) for word in self.l2.split(",")]
        except ValueError:
            return []


RECOMMENDER = Recommender(
    name="sca",
    paper="Yan et al., A Unified Video Recommendation by Cross-Network User Modeling, ACM TOMM 2016",
    settings=SCASettings,
    roles={"posts": "post_topics", "topics": "topics"},
    load=load,
    task=lazy("reelmill.models.baselines.sca.model:SCATask"),
    model=lazy("reelmill.models.baselines.sca.model:SCA"),
    adviser=lazy("reelmill.models.baselines.sca.model:SCAAdviser"),
    world=SharedWorld(of="drnn", options=WORLD, roles={"posts": "posts", "topics": "topics"}),
    version=1,
)
