"""LFM of the Dynamic RNN's table 1: weighted matrix factorisation of watches (`core.als`).

The paper names a "state-of-the-art Latent Factor Model" and cites Koren, which "mainly aims to address the sparsity
problem" (stated by the paper, without an equation or a number). Our resolution: the factorisation of Hu, Koren and
Volinsky (commonly known, not read), D = 64 and α = 40, λ by validation, r = 1 for a watch. The vector of a user is
folded in from their watches by one ridge regression, for tested users and for those who come later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from reelmill.models.baselines.lfm import LFMSettings
from reelmill.models.baselines.next_videos import Counted, WatchesAdviser, WatchesTask
from reelmill.models.core import als, sparse
from reelmill.models.core.advice import WHY, Question


@dataclass(frozen=True)
class Batch:
    """All watches."""

    watches: Tensor
    """(U, N) CSR of ones."""
    backwards: Tensor
    """(N, U) its transpose."""


class LFM(Counted):
    """U users and N videos with D factors each."""

    passes = None

    def __init__(self, settings: LFMSettings, users: int, videos: int) -> None:
        super().__init__()
        self.settings = settings
        self.sizes = {"users": users, "videos": videos}
        self.users: Tensor
        self.items: Tensor
        self.register_buffer("users", torch.zeros(users, settings.dim))
        self.register_buffer("items", torch.zeros(videos, settings.dim))

    def solve(self, batch: Batch) -> dict[str, Tensor]:
        """One sweep; the loss after it, over the number of watches."""
        weights = self.settings.alpha, self.settings.l2
        found = als.sweep(batch.watches, batch.backwards, als.Factors(self.users, self.items), *weights)
        self.users.copy_(found.users)
        self.items.copy_(found.items)
        total = als.loss(batch.watches, found, *weights)
        return {"loss": torch.tensor(total / batch.watches.values().numel())}

    def of_watches(self, watched: Tensor) -> Tensor:
        """(R, N) x·y_i of users folded in from watches (R, N), CSR."""
        return als.fold_in(watched, self.items, self.settings.alpha, self.settings.l2) @ self.items.T


class LFMTask(WatchesTask):
    """All watches to learn from are one batch."""

    name = "lfm"
    settings: LFMSettings

    def model(self, generator: torch.Generator) -> LFM:
        model = LFM(self.settings, len(self.split.users), self.n)
        model.items.copy_(als.start(self.n, self.settings.dim, generator))
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        yield Batch(self.known, sparse.transposed(self.known))


class LFMAdviser(WatchesAdviser):
    """Ranks videos by x·y_i of a user who is folded in from their watches in the tables."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.lfm = cast(LFM, question.fitted.model)

    def why(self, row: int) -> dict[str, Any]:
        """The watched videos of largest part in the score: as x = A⁻¹ Σ_l (1 + α) y_l, it is a sum over them."""
        items, settings = self.lfm.items, self.lfm.settings
        own = items[self.past.member]
        shared = items.T @ items + settings.l2 * torch.eye(settings.dim) + settings.alpha * own.T @ own
        parts = (1 + settings.alpha) * own @ torch.linalg.solve(shared, items[row])
        best = parts.argsort(descending=True, stable=True)[:WHY].tolist()
        return {"watched": [{"video_id": self.videos[self.past.member[n]], "part": float(parts[n])} for n in best]}
