"""BPR (Rendle et al., UAI 2009) and VBPR (He and McAuley, AAAI 2016), under one protocol of their own."""

from reelmill.models.baselines.vbpr.data import load
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy

_WORLD = {"dim": 16, "epochs": 40, "patience": 8, "batch": 512, "test_share": 0.3}

BPR_RECOMMENDER = Recommender(
    name="bpr",
    paper="Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009",
    settings=BPRSettings,
    roles={},
    load=load,
    task=lazy("reelmill.models.baselines.vbpr.task:BPRTask"),
    model=lazy("reelmill.models.baselines.vbpr.model:BPR"),
    adviser=lazy("reelmill.models.baselines.vbpr.recommend:BPRAdviser"),
    world=SharedWorld(of="jifr", options=_WORLD),
    version=1,
)

VBPR_RECOMMENDER = Recommender(
    name="vbpr",
    paper="He and McAuley, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, AAAI 2016",
    settings=VBPRSettings,
    roles={"features": "vgg19-fc7"},
    load=load,
    task=lazy("reelmill.models.baselines.vbpr.task:VBPRTask"),
    model=lazy("reelmill.models.baselines.vbpr.model:VBPR"),
    adviser=lazy("reelmill.models.baselines.vbpr.recommend:BPRAdviser"),
    world=SharedWorld(of="jifr", options={**_WORLD, "dim": 8, "visual_dim": 8}, roles={"features": "frames"}),
    version=1,
)
