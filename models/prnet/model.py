"""PR-Net: preference reasoning for personalised video highlight detection (Chen et al., ICCV 2021). Equation numbers
are the paper's; the encoders and the losses are in `parts`.

A step is one row of the store, a 16-frame C3D window; the paper calls it a frame. B windows of T steps, each with the
history of its user: n past highlights, out of C clips of L steps in the whole batch. d dimensions. Vectors are rows.

The authors published no code. What the paper leaves open is decided here, and explained where it is decided.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.standardise import FeatureModel
from reelmill.models.prnet.parts import LOSSES, Degrees, Residual, UNet, hardest
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.protocols.highlights.query import Batch, Query
from reelmill.storage.errors import InputError

SHORTEST = 1e-4
"""In a cosine, a vector shorter than this counts as that long, which bounds the gradient. Others are about 1 long."""


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


class PRNet(FeatureModel):
    """Encoder M, history attention, generic preference g and non-highlight preference u.

    The paper does not say how the weights start. Here g and u are drawn with a length near 1, that of a standardised
    row; convolutions with variance 2 / (inputs) (He); M's last layer starts at zero, so that S = x: before the first
    step, a history is judged by the features themselves.
    """

    def __init__(self, settings: PRNetSettings, features: int) -> None:
        super().__init__(features)
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
        standard = torch.where(valid[..., None], self.standardise(steps), 0)
        return self.encoder(self.projection(standard), valid)

    def remember(self, query: Query) -> tuple[Tensor, Tensor]:
        """H̃ (B, n, d), zero where there is none, and where there is one (B, n) bool.

        h̃ = the mean of a clip's encoded valid steps (§3.2). A clip is encoded alone, without the video around it."""
        size = self.settings.history_size
        rows = (query.history if size < 0 else query.history[:, :size]) + 1  # row 0 of the tables below is no clip
        encoded = self.encode(query.clips, query.clip_valid).sum(1) / query.clip_valid.sum(1, keepdim=True).clamp_min(1)
        there = F.pad(query.clip_valid.any(1), (1, 0))
        return F.embedding(rows, F.pad(encoded, (0, 0, 1, 0))), there[rows]

    def attend(self, s: Tensor, h: Tensor, there: Tensor) -> Tensor:
        """Eq. 3: a_ij = exp(λ cos(s_i, h̃_j)) / Σ_j exp(λ cos(s_i, h̃_j)) over the clips that are there (B, n), of s
        (B, T, d) and h̃ (B, n, d): (B, T, n). Without any, and for those that are not there, 0."""
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
