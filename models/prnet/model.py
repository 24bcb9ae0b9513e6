"""PR-Net: preference reasoning for personalised video highlight detection (Chen et al., ICCV 2021). Equation numbers
are the paper's; the encoders and the losses are in `prnet_parts`.

A step is one row of the store, a 16-frame C3D window; the paper calls it a frame. B windows of T steps, each with the
history of its user: n past highlights, out of C clips of L steps in the whole batch. d dimensions. Vectors are rows.

No code of the authors is public. Where the paper leaves a gap, the choice made here stands where it is made.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.base import FitSettings, Model
from reelmill.models.prnet.parts import LOSSES, Degrees, Residual, UNet, hardest
from reelmill.storage.errors import InputError

SHORTEST = 1e-4
"""In a cosine, a vector shorter than this counts as that long, which bounds the gradient. Others are about 1 long."""


@dataclass(frozen=True, kw_only=True)
class PRNetSettings(FitSettings):
    """The full model by default; `PRNetSettings.table_2("residual")` and so on are its ablations. Defaults are the
    paper's (§3.4 and where stated)."""

    epochs: int = 150
    batch: int = 32
    """Windows a step, each of another user."""
    window: int = 256
    """T in training. The paper's "256 frames" are steps: 256 raw frames are 16 steps, too few for the negatives of a
    highlight of three."""
    dim: int = 512
    """d. The paper leaves the features' own number, 512 of C3D conv5, through all layers."""
    projection: bool = False
    """Learn a linear map from the store's rows to d numbers, for stores of another width: pool5, flattened, has 8192.
    The paper has none and says "conv5"; averaged over space its rows have 512."""
    standardise: Literal["centre", "scale", "none"] = "centre"
    """Features f → (f − mean) / rms, f / rms or f, with the mean vector and the root mean square length (one number) of
    the training steps; both stay in the checkpoint. Features after a ReLU are never negative: without centring all of
    them point the same way, and the cosines of eq. 3 tell little. At unit length l and b start at about −1 to 1."""
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
    history_size: int = -1
    """At most so many past highlights, the newest; −1 takes all. 0 is PR-Net_h0, the same as PR-Net_G."""
    root_dim: bool = False
    """Divide the products of eq. 6 and 7 by √d. The paper does not."""
    loss: Literal["contrastive", "as_printed", "cross_entropy", "ranking", "triplet"] = "contrastive"
    """`as_printed` is eq. 8 to the letter, where the last two sums lack their logarithms. It is no contrast of l̃ with
    b̃: moving the soft-max mass to steps outside Ω and ℧ lowers log(l̃ + b̃) on all others without bound, while the last
    sums can lose no more than one each. The other three are the losses of table 2."""
    negatives: int = 5
    """℧ holds so many unlabelled steps for each one of Ω (eq. 8)."""
    margin: float = 1.0
    """Of the ranking and the triplet loss. The paper names none; 1 is that of Yao et al. [41]."""
    rank_by: Literal["highlight", "difference"] = "highlight"
    """Rank steps by l, as the paper says, or by l − b, which is what the contrastive loss moves."""
    past: Literal["others", "earlier"] = "others"
    """A user's history for a video: her highlights in all other videos, or in those that she began with before it."""
    tested: Literal["last", "every"] = "last"
    """Rank the last video of a test user, whose history is then what came before, or every one of hers. The paper's
    data mark the last one for that; it says no more."""
    validation_share: float = 0.07
    """Of the users; the paper has 9478 to train, 750 to validate and 675 to test (§4.1)."""
    test_share: float = 0.06
    """Of the users."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(window=1, dim=1, levels=1, kernel=1, temperature=0, history_size=-1, negatives=1, margin=0)
        self.one_of(
            standardise=("centre", "scale", "none"),
            encoder=("unet", "residual"),
            pooling=("attention", "mean"),
            loss=tuple(LOSSES),
            rank_by=("highlight", "difference"),
            past=("others", "earlier"),
            tested=("last", "every"),
        )
        self.at_least(validation_share=0, test_share=0)
        if not self.validation_share + self.test_share <= 0.9:
            raise InputError(
                f"validation_share {self.validation_share} and test_share {self.test_share}: together at most 0.9, "
                "so that somebody is left to train on"
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


@dataclass(frozen=True)
class Query:
    """B windows or whole videos, and the histories of their users. Rows are as in the store; they may hold anything,
    NaN too, where a mask is False."""

    steps: Tensor
    """(B, T, dim)."""
    valid: Tensor
    """(B, T) bool: neither padding nor without a decodable frame."""
    clips: Tensor
    """(C, L, dim) past highlights of all users, each from its first step, padded at the end; C and L may be 0."""
    clip_valid: Tensor
    """(C, L) bool. A clip without a valid step is no history."""
    history: Tensor
    """(B, n) int64, rows of `clips`, the newest highlight first, padded with −1; n may be 0."""


@dataclass(frozen=True)
class Batch:
    """Windows to train on. Those without a highlight count for nothing."""

    query: Query
    highlight: Tensor
    """(B, T) bool: labelled by the window's user."""


@dataclass(frozen=True)
class Reasons:
    """What the model thinks of each step, and why."""

    highlight: Tensor
    """(B, T) l."""
    non_highlight: Tensor
    """(B, T) b; zero with the ranking loss."""
    attention: Tensor
    """(B, T, n) weights a of the history, in the query's order (the first `history_size` of it): they sum to 1, or to 0
    without a history."""
    generic: Tensor
    """(B, T) weight of the generic preference, q²/(q¹ + q²): 1 without a history, 0 where g is left out. The
    user-specific preference has the rest."""


class PRNet(Model):
    """Encoder M, history attention, generic preference g and non-highlight preference u.

    The paper does not say how the weights start. Here g and u are drawn with a length near 1, that of a standardised
    row; convolutions with variance 2 / (inputs) (He); M's last layer starts at zero, so that S = x: before the first
    step, a history is judged by the features themselves.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, settings: PRNetSettings, features: int) -> None:
        super().__init__()
        self.settings, self.sizes = settings, {"features": features}
        d = settings.dim
        if features != d and not settings.projection:
            raise InputError(
                f"the store has {features} numbers a row, dim is {d}: set dim to {features}, or projection to true"
            )
        self.projection = nn.Linear(features, d, bias=False) if settings.projection else nn.Identity()
        encoder = UNet if settings.encoder == "unet" else Residual
        self.encoder = encoder(d, settings.levels, settings.kernel)
        self.g = nn.Parameter(torch.empty(d)) if settings.generic else None
        self.u = nn.Parameter(torch.empty(d)) if settings.loss != "ranking" else None
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(()))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        unit = self.settings.dim**-0.5
        with torch.no_grad():
            for vector in (self.g, self.u):
                if vector is not None:
                    vector.normal_(0, unit, generator=generator)
            for name, layer in self.named_modules():
                if isinstance(layer, nn.Linear | nn.Conv1d):
                    fan_in = layer.weight[0].numel()
                    std = {"projection": unit, "encoder.last": 0.0}.get(name, (2 / fan_in) ** 0.5)
                    layer.weight.normal_(0, std, generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
        return self

    def encode(self, steps: Tensor, valid: Tensor) -> Tensor:
        """Eq. 1: S = M(V). Rows (n, T, dim) as in the store → (n, T, d), zero where valid (n, T) is False."""
        if not steps.numel():  # no clips at all
            return steps.new_zeros(*steps.shape[:2], self.settings.dim)
        standard = (steps - self.feature_mean) / self.feature_scale
        return self.encoder(self.projection(torch.where(valid[..., None], standard, 0)), valid)

    def remember(self, query: Query) -> tuple[Tensor, Tensor]:
        """H̃ (B, n, d), zero where there is none, and where there is one (B, n) bool.

        h̃ = the mean of a clip's encoded valid steps (§3.2). A clip is encoded alone, without the video around it."""
        size = self.settings.history_size
        rows = (query.history if size < 0 else query.history[:, :size]) + 1  # row 0 of the tables below is no clip
        encoded = self.encode(query.clips, query.clip_valid).sum(1) / query.clip_valid.sum(1, keepdim=True).clamp_min(1)
        there = F.pad(query.clip_valid.any(1), (1, 0))
        return F.embedding(rows, F.pad(encoded, (0, 0, 1, 0))), there[rows]

    def attend(self, s: Tensor, h: Tensor, there: Tensor) -> Tensor:
        """Eq. 3: a_ij = exp(λ cos(s_i, h̃_j)) / Σ_j exp(λ cos(s_i, h̃_j)) over the clips that are there (B, n), of
        s (B, T, d) and h̃ (B, n, d): (B, T, n). Without any, and for those that are not there, 0."""
        if self.settings.pooling == "mean":
            known = there.to(s.dtype)
            return (known / known.sum(1, keepdim=True).clamp_min(1))[:, None].expand(-1, s.shape[1], -1)
        cosine = _unit(s) @ _unit(h).mT
        # The lowest finite number, not −∞, since a soft-max over nothing but −∞ is NaN.
        log_a = (self.settings.temperature * cosine).masked_fill(~there[:, None], torch.finfo(s.dtype).min)
        return log_a.softmax(-1) * there[:, None]

    def reason(self, query: Query) -> Reasons:
        """Eq. 1 to 7.

        p^u_i = Σ_j a_ij h̃_j (2);
        q¹_i = exp(λ cos(s_i, p^u_i)), q²_i = exp(λ cos(s_i, g)) (5), q¹ = 0 without a history;
        p^c_i = (q¹_i p^u_i + q²_i g) / (q¹_i + q²_i) (4), or p^u_i where g is left out;
        l_i = s_i·p^c_i (6), b_i = s_i·u (7), over √d on request."""
        s = self.encode(query.steps, query.valid)
        h, there = self.remember(query)
        attention = self.attend(s, h, there)
        p = attention @ h
        generic = s.new_zeros(s.shape[:2])
        if self.g is not None:
            log_q1 = self.settings.temperature * (_unit(s) * _unit(p)).sum(-1)
            log_q2 = self.settings.temperature * (_unit(s) @ _unit(self.g))
            log_q1 = log_q1.masked_fill(~there.any(1, keepdim=True), -torch.inf)
            own, generic = torch.stack([log_q1, log_q2], -1).softmax(-1).unbind(-1)
            p = own[..., None] * p + generic[..., None] * self.g
        scale = self.settings.dim**-0.5 if self.settings.root_dim else 1.0
        b = torch.zeros_like(generic) if self.u is None else s @ self.u
        return Reasons((s * p).sum(-1) * scale, b * scale, attention, generic)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Eq. 8 and 9, or the loss of another setting: its terms on Ω and on ℧, and their sum.

        Sums over the steps of a window, as printed; then the mean over the windows that hold a highlight."""
        reasons, valid = self.reason(batch.query), batch.query.valid
        positive = batch.highlight & valid
        size = positive.sum(1)
        chosen = hardest(reasons.non_highlight, valid & ~positive, self.settings.negatives * size)
        degrees = Degrees(
            reasons.highlight, reasons.non_highlight, valid, positive, chosen, margin=self.settings.margin
        )
        windows = (size > 0).sum().clamp_min(1)
        terms = {
            name: torch.where(size > 0, values, 0).sum() / windows
            for name, values in LOSSES[self.settings.loss](degrees).items()
        }
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    @torch.no_grad()
    def score(self, query: Query) -> tuple[Tensor, Reasons]:
        """Scores (B, T) of the steps, l or l − b, −∞ where a step is not valid; and the reasons."""
        reasons = self.reason(query)
        by_difference = self.settings.rank_by == "difference"
        degree = reasons.highlight - reasons.non_highlight if by_difference else reasons.highlight
        return degree.masked_fill(~query.valid, -torch.inf), reasons


def _unit(x: Tensor) -> Tensor:
    """x / |x| along the last axis, so that a product of two is their cosine."""
    return F.normalize(x, dim=-1, eps=SHORTEST)
