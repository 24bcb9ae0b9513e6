"""Parts of PR-Net (`reelmill.models.prnet.model`): the encoders M over time, the choice of ℧, and the losses over one
window's steps.

n sequences of T steps with d numbers each. A mask says which steps are there; the others (padding, or a step without a
decodable frame) never influence one that is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """M of eq. 1, after U-Net: down `levels` resolutions, each half as fine as the one before, and up again.

    e⁰ = ReLU(conv x), e^k = ReLU(conv(pool e^{k−1})); y^bottom = e^bottom, y^k = ReLU(conv(up y^{k+1} + e^k)); S = x +
    W y⁰ + w. pool takes the larger of two neighbours (of the last step alone, if their number is odd), up repeats each
    step twice. Every convolution is `kernel` wide and has d channels (fig. 3).

    Skips are added, since concatenated ones would need another width than d; so is the outermost one, from x to S.
    Steps that are not there are set to zero before each convolution, as beyond both ends: a sequence gives the same S
    alone and padded.
    """

    def __init__(self, dim: int, levels: int, kernel: int) -> None:
        super().__init__()

        def convolutions(count: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv1d(dim, dim, kernel, padding=kernel // 2) for _ in range(count))

        self.down, self.up = convolutions(levels), convolutions(levels - 1)
        self.last = nn.Linear(dim, dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x (n, T, d), zero where valid (n, T) is False → S (n, T, d), zero there as well."""
        there = valid[:, None].to(x.dtype)
        y, skips = x.transpose(1, 2), []
        for level, conv in enumerate(self.down):
            if level:  # y is at least 0, and 0 where nothing is: the larger of two is that of those that are there
                y, there = F.max_pool1d(y, 2, ceil_mode=True), F.max_pool1d(there, 2, ceil_mode=True)
            y = F.relu(conv(y)) * there
            skips.append((y, there))
        for conv, (skip, there) in zip(self.up, reversed(skips[:-1]), strict=True):
            up = y.repeat_interleave(2, -1)[..., : skip.shape[-1]]
            y = F.relu(conv(up * there + skip))
        return x + self.last(y.transpose(1, 2)) * valid[..., None]


class Residual(nn.Module):
    """PR-Net_residual (§4.3): S = x + W² ReLU(W¹x + w¹) + w², each step for itself.

    The paper's block has more parameters than M. Here W¹ has just as many rows as that takes.
    """

    def __init__(self, dim: int, levels: int, kernel: int) -> None:
        super().__init__()
        rival = (2 * levels - 1) * (kernel * dim**2 + dim) + dim**2 + dim
        hidden = (rival - dim) // (2 * dim + 1) + 1
        self.first, self.last = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """As `UNet.forward`."""
        return x + self.last(F.relu(self.first(x))) * valid[..., None]


def hardest(b: Tensor, unlabelled: Tensor, count: Tensor) -> Tensor:
    """℧ (n, T) bool: of the unlabelled (n, T) steps of each window the count (n,) with the highest b (n, T), or all if
    there are fewer; of equal ones the earlier. The choice has no gradient."""
    order = b.detach().masked_fill(~unlabelled, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(b.shape[1], device=b.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, place)
    return unlabelled & (rank < count[:, None])


@dataclass(frozen=True)
class Degrees:
    """What a loss sees of n windows. All but `margin` are (n, T)."""

    highlight: Tensor
    """l."""
    non_highlight: Tensor
    """b."""
    valid: Tensor
    """bool."""
    positive: Tensor
    """Ω, bool, within `valid`."""
    chosen: Tensor
    """℧, bool, within `valid` and outside Ω."""
    margin: float
    """Of the hinges."""

    @property
    def unlabelled(self) -> Tensor:
        """Every valid step outside Ω."""
        return self.valid & ~self.positive

    def relative(self) -> tuple[Tensor, Tensor]:
        """Eq. 9 as logarithms, log l̃ and log b̃: soft-max over the valid steps. A step that is not valid gets some
        finite number without a meaning."""
        lowest = torch.finfo(self.highlight.dtype).min
        log_l, log_b = (x.masked_fill(~self.valid, lowest).log_softmax(1) for x in (self.highlight, self.non_highlight))
        return log_l, log_b


def contrastive(d: Degrees) -> dict[str, Tensor]:
    """Eq. 8 with the logarithms that its last two sums miss: −Σ_Ω log(l̃/(l̃ + b̃)) − Σ_℧ log(b̃/(l̃ + b̃))."""
    log_l, log_b = d.relative()
    liked, rest = F.softplus(log_b - log_l), F.softplus(log_l - log_b)
    return {"highlight": _sum(liked, d.positive), "non_highlight": _sum(rest, d.chosen)}


def as_printed(d: Degrees) -> dict[str, Tensor]:
    """Eq. 8: Σ_Ω (log(l̃ + b̃) − l̃) + Σ_℧ (log(l̃ + b̃) − b̃)."""
    log_l, log_b = d.relative()
    both = torch.logaddexp(log_l, log_b)
    return {"highlight": _sum(both - log_l.exp(), d.positive), "non_highlight": _sum(both - log_b.exp(), d.chosen)}


def cross_entropy(d: Degrees) -> dict[str, Tensor]:
    """PR-Net_CE: mean over the valid steps of −log σ(l − b) on Ω and −log σ(b − l) on every unlabelled step."""
    gap, steps = d.non_highlight - d.highlight, d.valid.sum(1).clamp_min(1)
    liked, rest = _sum(F.softplus(gap), d.positive), _sum(F.softplus(-gap), d.unlabelled)
    return {"highlight": liked / steps, "non_highlight": rest / steps}


def ranking(d: Degrees) -> dict[str, Tensor]:
    """PR-Net_ranking: mean over y in Ω and every unlabelled x of max(0, margin − l_y + l_x)."""
    return {"highlight": _hinge(d.highlight, d.positive, d.unlabelled, d.margin)}


def triplet(d: Degrees) -> dict[str, Tensor]:
    """PR-Net_triplet: mean over y in Ω and x in ℧ of max(0, margin − l_y + l_x), the anchors being the comprehensive
    preferences, plus max(0, margin − b_x + b_y), the anchor being the non-highlight preference."""
    return {
        "highlight": _hinge(d.highlight, d.positive, d.chosen, d.margin),
        "non_highlight": _hinge(d.non_highlight, d.chosen, d.positive, d.margin),
    }


LOSSES: dict[str, Callable[[Degrees], dict[str, Tensor]]] = {
    "contrastive": contrastive,
    "as_printed": as_printed,
    "cross_entropy": cross_entropy,
    "ranking": ranking,
    "triplet": triplet,
}
"""Each gives its terms (n,), one number a window; their sum is the window's loss."""


def _sum(values: Tensor, mask: Tensor) -> Tensor:
    """(n,) sums over all but the first axis, where mask."""
    return torch.where(mask, values, 0).flatten(1).sum(1)


def _hinge(degree: Tensor, above: Tensor, below: Tensor, margin: float) -> Tensor:
    """(n,) mean over pairs of steps, y in `above` and x in `below`, of max(0, margin − degree_y + degree_x)."""
    pair = above[:, :, None] & below[:, None, :]
    lacking = F.relu(margin - degree[:, :, None] + degree[:, None, :])
    return _sum(lacking, pair) / pair.sum((1, 2)).clamp_min(1)
