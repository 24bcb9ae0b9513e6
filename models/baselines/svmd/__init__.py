"""SVM-D: a ranking SVM on the distances between a segment and what a user likes, under TransGRec's protocol."""

from dataclasses import dataclass

from reelmill.models.baselines.segments.settings import OneVideoSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.segments import data


@dataclass(frozen=True, kw_only=True)
class SVMDSettings(OneVideoSettings):
    """The optimiser, the batch and ten negatives are those of TransGRec's paper."""

    neighbours: int = 20
    """Largest similarities to liked segments that describe a segment."""
    c: float = 0.0
    """C: the smaller, the shorter the weights. 0 fits 10⁻³, 10⁻², … 10³ at once; validation chooses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(neighbours=1, c=0)
        self.at_most(neighbours=WIDEST)


RECOMMENDER = Recommender(
    name="svmd",
    paper="García del Molino and Gygli, PHD-GIFs: Personalized Highlight Detection for Automatic GIF Creation, "
    "ACM MM 2018",
    settings=SVMDSettings,
    roles={"features": "c3d-fc6"},
    load=data.load,
    task=lazy("reelmill.models.baselines.svmd.task:SVMDTask"),
    model=lazy("reelmill.models.baselines.svmd.model:RankingSVM"),
    adviser=lazy("reelmill.models.baselines.svmd.recommend:SVMDAdviser"),
    world=SharedWorld(
        of="transgrec",
        options={"batch": 500, "epochs": 40, "patience": 8, "learning_rate": 0.03, "negatives": 4},
        roles={"features": "features"},
    ),
    version=1,
)
