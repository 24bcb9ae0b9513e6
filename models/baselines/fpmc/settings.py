"""Settings of FPMC."""

from dataclasses import dataclass

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.settings import HistorySettings


@dataclass(frozen=True, kw_only=True)
class FPMCSettings(HistorySettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN that FPMC is compared with."""

    batch: int = 512
    """Watches a step."""
    learning_rate: float = 0.01
    """Of Adam."""
    dim: int = 32
    """k_{U,I} and k_{I,L}, of either part."""
    basket: int = 1
    """B is so many of the videos watched last."""
    negatives: int = 1
    """Videos that a watch is compared with; the paper draws one."""
    l2: float = 1e-3
    """λ of the paper's eq. 11, on the vectors that a comparison is made of."""
    init_std: float = 0.1
    """Of all vectors; b starts at 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, basket=WIDEST, negatives=WIDEST)
        self.at_least(dim=1, basket=1, negatives=1, l2=0, init_std=0)
