"""Settings of TransGRec (Wu et al., SIGIR 2020). Equation and section numbers are the paper's."""

from dataclasses import dataclass
from typing import Literal, Self

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.segments.settings import SegmentSettings


@dataclass(frozen=True, kw_only=True)
class TransGRecSettings(SegmentSettings):
    """TransGRec-E by default; `TransGRecSettings.adversarial()` is TransGRec-A. Defaults are the paper's (§4.1).

    A step passes once over the whole graph whatever its batch (at the paper's size 0.9 s on two cores), so a batch of
    some hundreds makes an epoch many times cheaper than the paper's 50; it wants more epochs.
    """

    variant: Literal["euclidean", "adversarial"] = "euclidean"
    """How the transfer network is taught: eq. 12 or eq. 13."""
    dim: int = 128
    """D; the paper tried 32 to 256."""
    depth: int = 2
    """K, propagation layers: 2 is best for E, 1 for A (tables 4 and 5). 0 gives u = x, v = y."""
    init_std: float = 0.1
    """Of X and Z. The paper's "variance of 0.01"; read as a standard deviation it is 0.01."""
    balance: float = 1.0
    """λ of eq. 1; the paper tried 0.1, 1 and 10. Adversarial fits do not need it: T has its own optimiser."""
    l2: float = 1e-4
    """λ of eq. 14, on the rows of X and Z in the batch. The paper gives both λ one name; tune 1e-5 to 1e-3."""
    negatives: int = 10
    """For each positive, from all segments of training videos except the user's own."""
    transfer_input: Literal["content", "fused"] = "content"
    """What T is trained on. `fused` (y) is eq. 11; but at test time T gets g = W⁰f (text before eq. 18), as a new
    segment has no z, so that `content` (g) trains T on what it will see."""
    stop_grad_teacher: bool = False
    """Let eq. 12 teach T only. As printed its gradient reaches the graph network as well."""
    generator_loss: Literal["non_saturating", "as_printed"] = "non_saturating"
    """What T minimises in A: −log D(fake), or log(1 − D(fake)) (eq. 16), whose gradient fades when D wins."""
    edge_dropout: float = 0.0
    """Share of edges left out of each step's graph. Without it v_i is pooled from the very user it is ranked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, depth=WIDEST, negatives=WIDEST)
        self.at_least(dim=1, depth=0, init_std=0, balance=0, l2=0, negatives=1, edge_dropout=0)
        self.at_most(edge_dropout=0.99)
        self.one_of(
            variant=("euclidean", "adversarial"),
            transfer_input=("content", "fused"),
            generator_loss=("non_saturating", "as_printed"),
        )

    @classmethod
    def adversarial(cls, **settings: object) -> Self:
        """TransGRec-A: the adversarial loss and K = 1."""
        return cls.from_dict({"variant": "adversarial", "depth": 1, **settings})
