"""Histories of users up to a moment, for many users and moments at once.

An event is one watch (its member is the video's row) or one post (its member is the post's topic) of a user at a time.
Times are int64 milliseconds.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MONTH_MS = 2_629_800_000
"""A twelfth of 365.25 days; ages are counted in it."""


@dataclass(frozen=True)
class Past:
    """Events of R users before R moments, oldest first: row r holds member[start[r]] … member[start[r + 1] − 1]."""

    member: Tensor
    """(E,) int64."""
    age: Tensor
    """(E,) months from the event to the moment, |t − t_i|."""
    start: Tensor
    """(R + 1,) int64."""

    @classmethod
    def nothing(cls, rows: int, device: torch.device | str = "cpu") -> "Past":
        """R rows without an event."""
        none = torch.zeros(0, dtype=torch.long, device=device)
        return cls(none, torch.zeros(0, device=device), none.new_zeros(rows + 1))

    @property
    def known(self) -> Tensor:
        """(R,) bool: has the row an event?"""
        return self.start.diff() > 0

    @property
    def row(self) -> Tensor:
        """(E,) row of each event."""
        return torch.repeat_interleave(torch.arange(len(self.start) - 1, device=self.start.device), self.start.diff())

    def mean(self, values: Tensor, decay: float) -> Tensor:
        """Eq. 2 and 3: (1 / N) Σ_i values_i e^{−λ|t − t_i|} with N = Σ_i e^{−λ|t − t_i|}: (R, D) of values (·, D) by
        member; zero where there is no event.

        The paper calls N "a normalization parameter"; the sum of the weights makes a mixture of mixtures one again.
        Ages are counted from the row's newest event, which cancels: it has weight 1, so that N ≥ 1 whatever λ is."""
        newest = F.pad(self.age, (1, 0))[self.start[1:]]  # of a row without an event never used
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


class Stream:
    """All events of one kind, by user and time, of which the past or future of any (user, moment) is a slice."""

    def __init__(self, user: Tensor, time_ms: Tensor, member: Tensor, users: int) -> None:
        """Events (E,), in any order; of one user and time they keep the given order."""
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
        """Past of users (R,) at moments (R,): their events with time < moment (§3.2, "in and before this session")."""
        count = torch.searchsorted(self.key, self._key(user, moment_ms)) - self.start[user]
        start = F.pad(torch.cumsum(count, 0), (1, 0))
        row = torch.repeat_interleave(torch.arange(len(user), device=user.device), count)
        place = torch.arange(len(row), device=user.device) + (self.start[user] - start[:-1])[row]
        return Past(self.member[place], (moment_ms[row] - self.time[place]) / MONTH_MS, start)

    def after(self, user: Tensor, moment_ms: Tensor, longest: int) -> Tensor:
        """(R, longest) members of the first events with time ≥ moment, in order; −1 fills the end of rows with
        fewer."""
        place = torch.searchsorted(self.key, self._key(user, moment_ms))[:, None]
        place = place + torch.arange(longest, device=user.device)
        return F.pad(self.member, (1, 0), value=-1)[torch.where(place < self.start[user + 1][:, None], place + 1, 0)]
