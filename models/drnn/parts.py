"""Parts of the Dynamic RNN: batches, user relevance, negatives, the GRU. Equation numbers are the paper's (`model`)."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.protocols.next_videos.history import Past

CHUNK = 512
"""Users whose overlaps with all others are held as numbers at once."""


@dataclass(frozen=True)
class Videos:
    """The corpus, on the device. Features are standardised; a video without picture or text has a row of zeros."""

    picture: Tensor
    """(N, D_v)."""
    text: Tensor
    """(N, D_t)."""
    mixture: Tensor
    """(N, topics of videos) m_i of eq. 2: rows sum to one, or are zero where unknown."""

    @property
    def complete(self) -> Tensor:
        """(N,) bool: has the video both picture and text, as eq. 1 wants?"""
        return (self.picture != 0).any(1) & (self.text != 0).any(1)


@dataclass(frozen=True)
class Batch:
    """R rows: first the examples to learn from, then the other users of their triplets, of whom only the last state is
    asked."""

    videos: Videos
    watched: Past
    """Videos watched before each row's moment."""
    posted: Past
    """Topics of posts before each row's moment; empty in the single network."""
    after: Tensor
    """(R, T) videos watched after the moment, in order; −1 fills the end. T ≥ 1."""
    examples: int
    """Rows to learn from."""
    triplet: Tensor
    """(·, 3) rows (i, p, n) of eq. 6."""
    pair: Tensor
    """(·, 3) videos of eq. 1: one with both modalities, one that lends its text, one that lends its picture."""


class Relevance:
    """Rel(i, j) = |L_i ∩ L_j| / |L_i ∪ L_j| of users' watch lists (§3.3), and the triplets of eq. 6 drawn by it.

    The paper does not say who is a positive. Here: one of the `nearest` users of largest Rel, where Rel > 0. A negative
    is a user with a watch list and Rel = 0. Holds U² booleans.
    """

    def __init__(self, user: Tensor, video: Tensor, users: int, nearest: int = 10) -> None:
        """Watches (E,) of training users 0 … U − 1, in any order; a video watched again counts once."""
        videos = int(video.max()) + 1 if len(video) else 1
        user, video = torch.unique(torch.stack([user, video]), dim=1)
        size = torch.bincount(user, minlength=users)
        start = F.pad(torch.cumsum(size, 0), (1, 0))
        near, overlap = [], []
        for part in torch.arange(users, device=user.device).split(CHUNK):
            own = slice(int(start[part[0]]), int(start[part[-1] + 1]))
            lists = torch.zeros(videos, len(part), device=user.device)
            lists[video[own], user[own] - part[0]] = 1
            shared = F.embedding_bag(video, lists, start, mode="sum", include_last_offset=True).T.long()
            shared[torch.arange(len(part), device=user.device), part] = 0  # no user is their own positive
            relevance = shared / (size[part][:, None] + size - shared).clamp(min=1)
            value, other = torch.sort(relevance, stable=True, dim=1, descending=True)  # equal Rel: by row
            near.append(torch.where(value > 0, other, -1)[:, :nearest])
            overlap.append(shared > 0)
        self.near = torch.cat(near)
        """(U, ≤ nearest) users by falling Rel; −1 behind the last with Rel > 0."""
        self.barred = torch.cat(overlap) | (size == 0)
        """(U, U) bool: row i, who cannot be a negative of i."""
        self.barred.fill_diagonal_(True)

    def draw(self, user: Tensor, generator: torch.Generator) -> Tensor:
        """(T, 3) triplets for anchors user (B,): place in `user`, positive user, negative user. Anchors that have no
        positive or no negative are left out. Drawn anew at each call."""
        near, barred = self.near[user], self.barred[user]
        count = (near >= 0).sum(1)
        nth = (torch.rand(len(user), generator=generator, device=user.device) * count).long()
        positive = near.gather(1, torch.minimum(nth, (count - 1).clamp(min=0))[:, None])[:, 0]
        lot = torch.rand(barred.shape, generator=generator, device=user.device).masked_fill(barred, -1)
        luck, negative = lot.max(1)
        place = torch.arange(len(user), device=user.device)
        return torch.stack([place, positive, negative], 1)[(count > 0) & (luck >= 0)]


def draw_pairs(complete: Tensor, generator: torch.Generator) -> Tensor:
    """(Q, 3) for eq. 1, one epoch: each video with both modalities, in random order, a video t′ comes from and a video
    v′ comes from, neither of them the first. None of a single video. complete (N,) as in `Videos`."""
    video = complete.nonzero()[:, 0]
    n = len(video)
    if n < 2:
        return video.new_zeros(0, 3)
    order = torch.randperm(n, generator=generator, device=video.device)
    step = torch.randint(1, n, (n, 2), generator=generator, device=video.device)
    return video[torch.cat([order[:, None], (order[:, None] + step) % n], 1)]


class Gru(nn.Module):
    """Eq. 5, no biases as printed. `nn.GRU` differs: it resets W_h h and not h, and its z weighs the old state."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.u = nn.Linear(inputs, 3 * hidden, bias=False)
        """U_z, U_r and U_h, one below the other."""
        self.w_gates = nn.Linear(hidden, 2 * hidden, bias=False)
        """W_z and W_r."""
        self.w_new = nn.Linear(hidden, hidden, bias=False)
        """W_h."""

    def initialise(self, generator: torch.Generator) -> Self:
        """U with deviation 1: the inputs are about as long as unit vectors, so that U x has spread 1. W with 1 / √H:
        the states' numbers are about 1 themselves."""
        self.u.weight.data.normal_(0, 1, generator=generator)
        for layer in (self.w_gates, self.w_new):
            layer.weight.data.normal_(0, layer.in_features**-0.5, generator=generator)
        return self

    def step(self, ux: Tensor, h: Tensor) -> Tensor:
        """h_t (R, H) from U x_t (R, 3H) and h_{t−1} (R, H).

        z = σ(U_z x + W_z h), r = σ(U_r x + W_r h), h̃ = tanh(U_h x + W_h (h ⊙ r)), h_t = (1 − z) ⊙ h + z ⊙ h̃."""
        size = h.shape[1]
        z, r = torch.sigmoid(ux[:, : 2 * size] + self.w_gates(h)).chunk(2, 1)
        new = torch.tanh(ux[:, 2 * size :] + self.w_new(h * r))
        return (1 - z) * h + z * new

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """States (R, T, H) of inputs (R, T, ·), from h_0 = 0; a step that is not valid (R, T) keeps the state."""
        ux = self.u(x)
        h = x.new_zeros(len(x), self.w_new.in_features)
        states = []
        for t in range(x.shape[1]):  # each step needs the one before
            h = torch.where(valid[:, t, None], self.step(ux[:, t], h), h)
            states.append(h)
        return torch.stack(states, 1)


def unit(rows: Tensor) -> Tensor:
    """Rows at length 1; one near zero stays near zero, so that its gradient is finite."""
    return F.normalize(rows, dim=-1, eps=1e-6)


def mean(values: Tensor) -> Tensor:
    """Mean of (n,), 0 of none."""
    return values.sum() / max(len(values), 1)
