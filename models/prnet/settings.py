"""Settings of PR-Net (Chen et al., ICCV 2021). Equation and section numbers are the paper's."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.highlights.settings import HighlightSettings
from reelmill.storage.errors import InputError

TABLE_2: dict[str, dict[str, Any]] = {
    "full": {},
    "residual": {"encoder": "residual"},
    "ranking": {"loss": "ranking"},
    "CE": {"loss": "cross_entropy"},
    "triplet": {"loss": "triplet"},
    "G": {"history_size": 0},
    "U": {"generic": False},
    "meanU": {"pooling": "mean", "generic": False},
    "meanU+G": {"pooling": "mean"},
    "h0": {"history_size": 0},
    "h5": {"history_size": 5},
}
"""Row → what differs from the full model. G and h0 are one model, and have one figure in the paper."""


@dataclass(frozen=True, kw_only=True)
class PRNetSettings(HighlightSettings):
    """The full model by default; `PRNetSettings.table_2("residual")` and so on are its ablations. Defaults are the
    paper's (§3.4 and where stated)."""

    epochs: int = 150
    batch: int = 32
    """Windows a step, each of another user."""
    dim: int = 512
    """d. The paper leaves the features' own number, 512 of C3D conv5, through all layers."""
    projection: bool = False
    """Learn a linear map from the store's rows to d numbers, for stores of another width: pool5, flattened, has 8192.
    The paper has none and says "conv5"; averaged over space its rows have 512."""
    encoder: Literal["unet", "residual"] = "unet"
    """M, or each step for itself (PR-Net_residual)."""
    levels: int = 3
    """Resolutions of M: steps, pairs of steps, groups of four (§3.1, fig. 3)."""
    kernel: int = 3
    """Width of M's convolutions, odd."""
    temperature: float = 9.0
    """λ of eq. 3 and 5, the inverse temperature of both soft-maxes."""
    pooling: Literal["attention", "mean"] = "attention"
    """The user-specific preference p^u is eq. 2, or the plain mean of the history (PR-Net_meanU, meanU+G)."""
    generic: bool = True
    """Use the generic preference g. Without (PR-Net_U, meanU) a user without history likes every step equally."""
    root_dim: bool = False
    """Divide the products of eq. 6 and 7 by √d. The paper does not."""
    loss: Literal["contrastive", "as_printed", "cross_entropy", "ranking", "triplet"] = "contrastive"
    """`as_printed` is eq. 8 as it is printed, without the logarithms of the last two sums. It is no contrast of l̃ with
    b̃: moving the soft-max mass to steps outside Ω and ℧ lowers log(l̃ + b̃) on all others without bound, while the last
    sums can lose no more than one each. The other three are the losses of table 2."""
    negatives: int = 5
    """℧ holds so many unlabelled steps for each one of Ω (eq. 8)."""
    margin: float = 1.0
    """Of the ranking and the triplet loss. The paper names none; 1 is that of Yao et al. [41]."""
    rank_by: Literal["highlight", "difference"] = "highlight"
    """Rank steps by l, as the paper says, or by l − b, which is what the contrastive loss moves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, levels=16, kernel=WIDEST, negatives=WIDEST)
        self.at_least(dim=1, levels=1, kernel=1, temperature=0, negatives=1, margin=0)
        self.one_of(
            encoder=("unet", "residual"),
            pooling=("attention", "mean"),
            loss=("contrastive", "as_printed", "cross_entropy", "ranking", "triplet"),
            rank_by=("highlight", "difference"),
        )
        if self.kernel % 2 == 0:
            raise InputError(f"kernel {self.kernel}: must be odd, so that a step stays in the middle; try 3")
        if not self.generic and self.history_size == 0:
            raise InputError("generic False with history_size 0: no preference is left; keep one of the two")
        if self.loss == "ranking" and self.rank_by == "difference":
            raise InputError("rank_by 'difference': the ranking loss has no non-highlight degree; say 'highlight'")

    @classmethod
    def table_2(cls, row: str, **settings: object) -> Self:
        """The settings of a row of table 2, by the subscript of its name. Raises InputError."""
        if row not in TABLE_2:
            raise InputError(f"table 2 has no row {row!r}: {', '.join(TABLE_2)}")
        return cls.from_dict({**TABLE_2[row], **settings})
