"""MKNN: nearest neighbours of users by what they post (the Dynamic RNN's table 2)."""

from dataclasses import dataclass

from reelmill.models.baselines.cold_start import WORLD, ColdStartSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.data import load


@dataclass(frozen=True, kw_only=True)
class MKNNSettings(ColdStartSettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN, with its `network="cross"`. One epoch is the
    whole fit; there is no optimiser: `batch`, `learning_rate` and `patience` have no effect."""

    neighbours: int = 50
    """k most similar training users."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(neighbours=1)
        self.at_most(neighbours=WIDEST)


RECOMMENDER = Recommender(
    name="mknn",
    paper="Gao et al., A Unified Personalized Video Recommendation via Dynamic Recurrent Neural Networks, ACM MM 2017",
    settings=MKNNSettings,
    roles={"posts": "post_topics"},
    load=load,
    task=lazy("reelmill.models.baselines.mknn.model:MKNNTask"),
    model=lazy("reelmill.models.baselines.mknn.model:MKNN"),
    adviser=lazy("reelmill.models.baselines.mknn.model:MKNNAdviser"),
    world=SharedWorld(of="drnn", options=WORLD, roles={"posts": "posts"}),
    version=1,
)
