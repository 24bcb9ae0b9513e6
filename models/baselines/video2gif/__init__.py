"""Video2GIF (Gygli et al., CVPR 2016) and PHD-GIFs (García del Molino and Gygli, ACM MM 2018), under TransGRec's
protocol."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.baselines.segments.settings import PerceptronSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.protocols.segments import data


@dataclass(frozen=True, kw_only=True)
class Video2GIFSettings(PerceptronSettings):
    """Widths as TransGRec's paper and the authors' code have them; the optimiser and its figures are what is commonly
    known of the paper."""

    negatives: int = 1
    """Segments of the same video, marked by no user, that each positive is compared with."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """`sgd` is stochastic gradient descent with momentum 0.9."""
    l2: float = 1e-3
    """Weight decay: λ of ½ λ |W|² in the loss, of all weights without biases."""


@dataclass(frozen=True, kw_only=True)
class PHDGIFsSettings(PerceptronSettings):
    """Widths are those of TransGRec's paper; Adam, dropout and ten negatives are our resolution."""


_WORLD = {
    "hidden_1": 64, "hidden_2": 32, "batch": 500, "epochs": 40, "patience": 8, "optimiser": "adam",
    "learning_rate": 0.003, "negatives": 4,
}  # fmt: skip

VIDEO2GIF_RECOMMENDER = Recommender(
    name="video2gif",
    paper="Gygli, Song and Cao, Video2GIF: Automatic Generation of Animated GIFs from Video, CVPR 2016",
    settings=Video2GIFSettings,
    roles={"features": "c3d-fc6"},
    load=data.load,
    task=lazy("reelmill.models.baselines.video2gif.task:Video2GIFTask"),
    model=lazy("reelmill.models.baselines.video2gif.model:Perceptron"),
    adviser=lazy("reelmill.models.baselines.video2gif.recommend:Video2GIFAdviser"),
    world=SharedWorld(of="transgrec", options=_WORLD, roles={"features": "features"}),
    version=1,
)

PHDGIFS_RECOMMENDER = Recommender(
    name="phdgifs",
    paper="García del Molino and Gygli, PHD-GIFs: Personalized Highlight Detection for Automatic GIF Creation, "
    "ACM MM 2018",
    settings=PHDGIFsSettings,
    roles={"features": "c3d-fc6"},
    load=data.load,
    task=lazy("reelmill.models.baselines.video2gif.task:PHDGIFsTask"),
    model=lazy("reelmill.models.baselines.video2gif.model:Perceptron"),
    adviser=lazy("reelmill.models.baselines.video2gif.recommend:PHDGIFsAdviser"),
    world=SharedWorld(of="transgrec", options=_WORLD, roles={"features": "features"}),
    version=1,
)
