"""Parts of JIFR (`jifr`, with its notation): frame sets of any size, and the two attention networks."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.rows import pick


@dataclass(frozen=True)
class Frames:
    """Frame sets S_i of n items: those of the i-th are features[start[i]] … features[start[i + 1] − 1], or none."""

    features: Tensor
    """(L, dim), standardised."""
    start: Tensor
    """(n + 1,) int64."""

    @cached_property
    def count(self) -> Tensor:
        """|S_i|, (n,)."""
        return self.start.diff()

    @cached_property
    def owner(self) -> Tensor:
        """(L,) for each frame the place of its item."""
        return torch.repeat_interleave(self.count, output_size=len(self.features))

    def of(self, items: Tensor) -> "Frames":
        """The frame sets of items (m,), in their order."""
        count = self.count[items]
        start = F.pad(count.cumsum(0), (1, 0))
        place = torch.repeat_interleave(count)
        frame = torch.arange(len(place), device=place.device) - start[place] + self.start[items][place]
        return Frames(self.features[frame], start)

    def sum(self, values: Tensor) -> Tensor:
        """Σ over each item's frames of values (L, D), zero where there are none: (n, D)."""
        each = torch.arange(len(values), device=values.device)
        return F.embedding_bag(each, values, self.start, mode="sum", include_last_offset=True)

    def softmax(self, scores: Tensor) -> Tensor:
        """Soft-max of scores (L, 1) over each item's own frames: (L, 1)."""
        highest = scores.new_zeros(len(self.count)).scatter_reduce(
            0, self.owner, scores.detach().squeeze(-1), "amax", include_self=False
        )
        power = torch.exp(scores - highest[self.owner, None])
        return power / pick(self.sum(power), self.owner)


class VisualAttention(nn.Module):
    """Which frames speak for an item: W⁰ (h, dim), W¹ (h, d + h), w¹ (1, h)."""

    def __init__(self, features: int, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.w0 = nn.Linear(features, hidden, bias=False)
        self.w1 = nn.Linear(dim + hidden, hidden, bias=bias)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, v: Tensor, frames: Frames) -> Tensor:
        """Eq. 6 and 7: α (L, 1) of the frames of items v (n, d).

        a_ij = w¹·ReLU(W¹[v_i, W⁰c_j] + b¹); α_ij = exp(a_ij) / Σ_{k ∈ S_i} exp(a_ik), where the paper slips into
        α_ak below the fraction line. W⁰ is not P: what makes a frame matter need not be what a user likes in it.
        """
        both = torch.cat([pick(v, frames.owner), self.w0(frames.features)], -1)
        return frames.softmax(self.out(F.relu(self.w1(both))))


class RatingAttention(nn.Module):
    """By sight or by habit: W² = [A|B] (h, 2d), w² (1, h). Split, A·u_a and A·w_a are the same for all items, B·v_i
    and B·x_i for all users, and only what follows them is left to do for each pair."""

    def __init__(self, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.a = nn.Linear(dim, hidden, bias=False)
        self.b = nn.Linear(dim, hidden, bias=bias)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, user: Tensor, item: Tensor, framed: Tensor) -> Tensor:
        """Eq. 9 and 10: β (…, 2) of users' A·[u_a, w_a] and items' B·[v_i, x_i] + b², both (…, 2, h).

        β_ai1 ∝ exp(w²·ReLU(W²[u_a, v_i] + b²)), β_ai2 ∝ exp(w²·ReLU(W²[w_a, x_i] + b²)), which sum to one.
        An item without frames, `framed` (…) False, is judged by habit alone: β = (1, 0).
        """
        scores = self.out(F.relu(user + item, inplace=True)).squeeze(-1)  # full ranking's largest tensor, so but once
        return scores.masked_fill(F.pad(~framed[..., None], (1, 0)), -torch.inf).softmax(-1)
