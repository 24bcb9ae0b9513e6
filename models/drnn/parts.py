"""What the Dynamic RNN is put together from: batches, streams of deeds, user relevance, negatives, the GRU. Equation
numbers are the paper's (see `drnn`).

A deed is one time-stamped act of a user: a watched video (its member is the video's row) or a post (its member is the
post's topic). Times are int64 milliseconds.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MONTH_MS = 2_629_800_000
"""A twelfth of 365.25 days; ages are counted in it."""
CHUNK = 512
"""Users whose overlaps with all others are held as numbers at once."""


@dataclass(frozen=True)
class Past:
    """Deeds of R users before R moments, oldest first: row r holds member[start[r]] … member[start[r + 1] − 1]."""

    member: Tensor
    """(E,) int64."""
    age: Tensor
    """(E,) months from the deed to the moment, |t − t_i|."""
    start: Tensor
    """(R + 1,) int64."""

    @classmethod
    def nothing(cls, rows: int, device: torch.device | str = "cpu") -> "Past":
        """R rows without a deed."""
        none = torch.zeros(0, dtype=torch.long, device=device)
        return cls(none, torch.zeros(0, device=device), none.new_zeros(rows + 1))

    @property
    def known(self) -> Tensor:
        """(R,) bool: has the row a deed?"""
        return self.start.diff() > 0

    @property
    def row(self) -> Tensor:
        """(E,) row of each deed."""
        return torch.repeat_interleave(torch.arange(len(self.start) - 1, device=self.start.device), self.start.diff())

    def mean(self, values: Tensor, decay: float) -> Tensor:
        """Eq. 2 and 3: (1 / N) Σ_i values_i e^{−λ|t − t_i|} with N = Σ_i e^{−λ|t − t_i|}: (R, D) of values (·, D) by
        member; zero where there is no deed.

        The paper calls N "a normalization parameter"; the sum of the weights makes a mixture of mixtures one again.
        Ages are counted from the row's newest deed, which cancels: it has weight 1, so that N ≥ 1 whatever λ is."""
        newest = F.pad(self.age, (1, 0))[self.start[1:]]  # of a row without a deed never used
        weight = torch.exp(-decay * (self.age - newest[self.row]).to(values.dtype))

        def total(member: Tensor, table: Tensor) -> Tensor:
            return F.embedding_bag(
                member, table, self.start, mode="sum", per_sample_weights=weight, include_last_offset=True
            )

        return total(self.member, values) / total(torch.zeros_like(self.member), values.new_ones(1, 1)).clamp(min=1)

    def last(self, count: int) -> Tensor:
        """(R, count) the newest members, oldest first, at the right; −1 fills rows with fewer."""
        place = self.start[1:, None] + torch.arange(-count, 0, device=self.start.device)
        return F.pad(self.member, (1, 0), value=-1)[torch.where(place >= self.start[:-1, None], place + 1, 0)]

    def first_rows(self, rows: int) -> "Past":
        """Rows 0 … rows − 1."""
        end = int(self.start[rows])
        return Past(self.member[:end], self.age[:end], self.start[: rows + 1])


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
    """Topics of posts before each row's moment; without rows' deeds in the single network."""
    after: Tensor
    """(R, T) videos watched after the moment, in order; −1 fills the end. T ≥ 1."""
    examples: int
    """Rows to learn from."""
    triplet: Tensor
    """(·, 3) rows (i, p, n) of eq. 6."""
    pair: Tensor
    """(·, 3) videos of eq. 1: one with both modalities, one that lends its text, one that lends its picture."""


class Stream:
    """All deeds of one kind, by user and time, from which pasts and futures of any (user, moment) are cut at once."""

    def __init__(self, user: Tensor, time_ms: Tensor, member: Tensor, users: int) -> None:
        """Deeds (E,), in any order; of one user and time they keep the given order."""
        order = torch.argsort(time_ms, stable=True)
        order = order[torch.argsort(user[order], stable=True)]
        self.time, self.member = time_ms[order], member[order]
        self.start = F.pad(torch.cumsum(torch.bincount(user, minlength=users), 0), (1, 0))
        self.early, self.late = (int(time_ms.min()), int(time_ms.max())) if len(time_ms) else (0, 0)
        self.key = self._key(user[order], self.time)

    def _key(self, user: Tensor, time_ms: Tensor) -> Tensor:
        """Rises with user, then with time; times outside the stream count as its ends."""
        inside = time_ms.clamp(self.early, self.late + 1) - self.early
        return user * (self.late - self.early + 2) + inside

    def until(self, user: Tensor, moment_ms: Tensor) -> Past:
        """Past of users (R,) at moments (R,): their deeds with time < moment (§3.2, "in and before this session")."""
        count = torch.searchsorted(self.key, self._key(user, moment_ms)) - self.start[user]
        start = F.pad(torch.cumsum(count, 0), (1, 0))
        row = torch.repeat_interleave(torch.arange(len(user), device=user.device), count)
        place = torch.arange(len(row), device=user.device) + (self.start[user] - start[:-1])[row]
        return Past(self.member[place], (moment_ms[row] - self.time[place]) / MONTH_MS, start)

    def after(self, user: Tensor, moment_ms: Tensor, longest: int) -> Tensor:
        """(R, longest) members of the first deeds with time ≥ moment, in order; −1 fills the end of rows with fewer."""
        place = torch.searchsorted(self.key, self._key(user, moment_ms))[:, None]
        place = place + torch.arange(longest, device=user.device)
        return F.pad(self.member, (1, 0), value=-1)[torch.where(place < self.start[user + 1][:, None], place + 1, 0)]


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
            shared[torch.arange(len(part), device=user.device), part] = 0  # nobody is her own positive
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
        """U with deviation 1: the inputs are about as long as unit vectors, so that U x has spread 1. W with
        1 / √H: the states' numbers are about 1 themselves."""
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
