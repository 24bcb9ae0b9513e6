"""The two attention networks of JIFR, in the notation of `model`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.rows import pick
from reelmill.models.protocols.items_and_frames.frames import Frames


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
