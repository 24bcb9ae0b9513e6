"""KNN: collaborative filtering by nearest neighbours (Sarwar et al., WWW 2001)."""

from dataclasses import dataclass

from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.data import load
from reelmill.models.protocols.next_videos.settings import HistorySettings


@dataclass(frozen=True, kw_only=True)
class KNNSettings(HistorySettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN that KNN is compared with. One epoch is the
    whole fit; there is no optimiser, and `learning_rate` and `patience` have no effect."""

    epochs: int = 1
    """More change nothing."""
    batch: int = 256
    """Videos whose neighbours are found at a time; changes memory and speed only."""
    neighbours: int = 50
    """k most similar videos of each video, or most similar users of a user."""
    user_based: bool = False
    """Compare users in place of videos."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(neighbours=1)
        self.at_most(neighbours=WIDEST)


RECOMMENDER = Recommender(
    name="knn",
    paper="Sarwar et al., Item-Based Collaborative Filtering Recommendation Algorithms, WWW 2001",
    settings=KNNSettings,
    roles={},
    load=load,
    task=lazy("reelmill.models.baselines.knn.model:KNNTask"),
    model=lazy("reelmill.models.baselines.knn.model:empty"),
    adviser=lazy("reelmill.models.baselines.knn.model:KNNAdviser"),
    world=SharedWorld(of="drnn", options={"least_videos": 5, "test_share": 0.4, "validation_share": 0.15}),
    version=1,
)
