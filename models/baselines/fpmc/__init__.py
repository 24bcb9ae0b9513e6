"""FPMC: factorised personalised Markov chains (Rendle et al., WWW 2010)."""

from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.protocols.next_videos.data import load

RECOMMENDER = Recommender(
    name="fpmc",
    paper="Rendle et al., Factorizing Personalized Markov Chains for Next-Basket Recommendation, WWW 2010",
    settings=FPMCSettings,
    roles={},
    load=load,
    task=lazy("reelmill.models.baselines.fpmc.model:FPMCTask"),
    model=lazy("reelmill.models.baselines.fpmc.model:FPMC"),
    adviser=lazy("reelmill.models.baselines.fpmc.recommend:FPMCAdviser"),
    world=SharedWorld(
        of="drnn",
        options={"epochs": 10, "patience": 0, "least_videos": 5, "test_share": 0.4, "validation_share": 0.15},
    ),
    version=1,
)
