"""LFM: a latent factor model of watches (Hu, Koren and Volinsky, ICDM 2008)."""

from dataclasses import dataclass

from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.data import load
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LFMSettings(HistorySettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN that LFM is compared with. An epoch is one
    sweep of alternating least squares over all watches; `batch` and `learning_rate` have no effect."""

    epochs: int = 15
    """Sweeps at most."""
    patience: int = 3
    """Stop after so many sweeps without a better validation metric; 0 never stops early."""
    dim: int = 64
    """D factors."""
    alpha: float = 40.0
    """α: a watch has confidence 1 + α where any other pair has 1."""
    l2: float = 10.0
    """λ; choose it by the validation metric."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(dim=1, alpha=0)
        self.at_most(dim=WIDEST)
        if not self.l2 > 0:
            raise InputError(f"l2 {self.l2}: must be above 0, try 10")


RECOMMENDER = Recommender(
    name="lfm",
    paper="Hu et al., Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008",
    settings=LFMSettings,
    roles={},
    load=load,
    task=lazy("reelmill.models.baselines.lfm.model:LFMTask"),
    model=lazy("reelmill.models.baselines.lfm.model:LFM"),
    adviser=lazy("reelmill.models.baselines.lfm.model:LFMAdviser"),
    world=SharedWorld(of="drnn", options={"dim": 16, "least_videos": 5, "test_share": 0.4, "validation_share": 0.15}),
    version=1,
)
