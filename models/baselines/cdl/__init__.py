"""CDL, which is *comparative* deep learning (Lei et al., CVPR 2016) and not collaborative deep learning, and LapReg
(Belkin et al., JMLR 2006) on top of it, under TransGRec's protocol."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST, FitSettings
from reelmill.models.protocols.segments import videos
from reelmill.models.protocols.segments.settings import SegmentSettings


@dataclass(frozen=True, kw_only=True)
class ComparativeSettings(FitSettings):
    """Of the model, whatever its protocol. Dimension, negatives, optimiser and batch are those of TransGRec's paper,
    which tunes the systems that it compares with; the width of the hidden layer is our resolution."""

    dim: int = 128
    """D, of users and items."""
    hidden: int = 512
    """Width of the hidden layer between features and items."""
    metric: Literal["learned", "euclidean"] = "learned"
    """`learned`: each dimension of the squared distance has a weight. `euclidean`: all weights are 1."""
    negatives: int = 10
    """For each positive, from all items except the user's own."""
    init_std: float = 0.1
    """Of the users; the paper's "variance of 0.01"."""
    l2: float = 1e-4
    """λ of λ |w_a|², on the users of the batch; tune 1e-5 to 1e-1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(dim=1, hidden=1, negatives=1, init_std=0, l2=0)
        self.at_most(dim=WIDEST, hidden=WIDEST, negatives=WIDEST)
        self.one_of(metric=("learned", "euclidean"))


@dataclass(frozen=True, kw_only=True)
class LaplacianSettings(ComparativeSettings):
    """Of the model with the Laplacian term, whatever its protocol."""

    gamma: float = 0.1
    """γ, weight of the Laplacian term; tune 0.001 to 1."""
    laplacian: Literal["normalised", "unnormalised"] = "normalised"
    """Whether vectors are divided by the square root of their degree in the graph."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(gamma=0)
        self.one_of(laplacian=("normalised", "unnormalised"))


@dataclass(frozen=True, kw_only=True)
class CDLSettings(ComparativeSettings, SegmentSettings):
    """Under TransGRec's protocol."""


@dataclass(frozen=True, kw_only=True)
class LapRegSettings(LaplacianSettings, SegmentSettings):
    """Under TransGRec's protocol."""


_WORLD = {"dim": 32, "hidden": 64, "batch": 500, "epochs": 40, "patience": 8, "learning_rate": 0.01, "l2": 1e-3}

CDL_RECOMMENDER = Recommender(
    name="cdl",
    paper="Lei et al., Comparative Deep Learning of Hybrid Representations for Image Recommendations, CVPR 2016",
    settings=CDLSettings,
    roles={"features": "c3d-fc6"},
    load=videos.load,
    task=lazy("reelmill.models.baselines.cdl.task:CDLTask"),
    model=lazy("reelmill.models.baselines.cdl.model:Comparative"),
    adviser=lazy("reelmill.models.baselines.cdl.recommend:ComparativeAdviser"),
    world=SharedWorld(of="transgrec", options=_WORLD, roles={"features": "features"}),
    version=1,
)

LAPREG_RECOMMENDER = Recommender(
    name="lapreg",
    paper="Belkin, Niyogi and Sindhwani, Manifold Regularization: A Geometric Framework for Learning from Labeled and "
    "Unlabeled Examples, JMLR 2006",
    settings=LapRegSettings,
    roles={"features": "c3d-fc6"},
    load=videos.load,
    task=lazy("reelmill.models.baselines.cdl.task:LapRegTask"),
    model=lazy("reelmill.models.baselines.cdl.model:Comparative"),
    adviser=lazy("reelmill.models.baselines.cdl.recommend:ComparativeAdviser"),
    world=SharedWorld(
        of="transgrec",
        options={**_WORLD, "gamma": 1.0, "learning_rate": 0.003},
        roles={"features": "features"},
    ),
    version=1,
)
