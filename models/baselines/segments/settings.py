"""Settings that the systems compared with TransGRec share."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.segments.settings import SegmentSettings
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OneVideoSettings(SegmentSettings):
    """Of a system that compares segments of one video: it cannot rank whole videos."""

    negatives: int = 10
    """Segments of the same video that each positive is compared with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(negatives=1)
        self.at_most(negatives=WIDEST)
        if self.split == "given":
            raise InputError(
                "split 'given': its items are whole videos, and this model compares segments of one video; say "
                "split: last_video"
            )


@dataclass(frozen=True, kw_only=True)
class PerceptronSettings(OneVideoSettings):
    """Of Video2GIF and PHD-GIFs: a perceptron with two hidden layers."""

    hidden_1: int = 512
    """Width of the first hidden layer."""
    hidden_2: int = 128
    """Width of the second hidden layer."""
    dropout: float = 0.5
    """Share of either hidden layer that a training step leaves out."""
    delta: float = 1.5
    """δ of the Huber loss: where it goes on as a line."""
    optimiser: Literal["sgd", "adam"] = "adam"
    """`sgd` is stochastic gradient descent with momentum 0.9."""
    l2: float = 1e-5
    """Weight decay: λ of ½ λ |W|² in the loss, of all weights without biases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(hidden_1=1, hidden_2=1, dropout=0, delta=0, l2=0)
        self.at_most(hidden_1=WIDEST, hidden_2=WIDEST, dropout=0.99)
        self.one_of(optimiser=("sgd", "adam"))
