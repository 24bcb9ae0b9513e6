"""A bipartite graph of users and items on the device, with mean pooling over neighbours."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of n nodes: those of node k are member[start[k]] … member[start[k + 1] − 1]."""

    member: Tensor
    """(E,) int64."""
    start: Tensor
    """(n + 1,) int64."""

    def mean(self, values: Tensor) -> Tensor:
        """Pool of eq. 4 and 6: mean over the neighbours' rows of values (·, D), zero where there are none: (n, D)."""
        return F.embedding_bag(self.member, values, self.start, mode="mean", include_last_offset=True)

    def keep(self, kept: Tensor) -> "Neighbours":
        """Without the entries where kept (E,) is False."""
        before = F.pad(torch.cumsum(kept, 0), (1, 0))
        return Neighbours(self.member[kept], before[self.start])


@dataclass(frozen=True)
class Graph:
    """The training graph and what its items look like."""

    features: Tensor
    """(N, dim), standardised."""
    items_of: Neighbours
    """R_a of each user."""
    users_of: Neighbours
    """R_i of each item."""
    by_item: Tensor
    """(E,) for each entry of `users_of` the entry of `items_of` that is the same edge."""

    @classmethod
    def build(cls, features: Tensor, user: Tensor, item: Tensor, users: int) -> "Graph":
        """From edges (E,), sorted by user, and features (N, dim)."""
        by_item = torch.argsort(item, stable=True)

        def start(node: Tensor, nodes: int) -> Tensor:
            return F.pad(torch.cumsum(torch.bincount(node, minlength=nodes), 0), (1, 0))

        items_of = Neighbours(item, start(user, users))
        return cls(features, items_of, Neighbours(user[by_item], start(item, len(features))), by_item)

    def drop(self, share: float, generator: torch.Generator) -> "Graph":
        """Without a random share of the edges; the means are over those that stay."""
        kept = torch.rand(len(self.by_item), generator=generator, device=self.by_item.device) >= share
        return Graph(self.features, self.items_of.keep(kept), self.users_of.keep(kept[self.by_item]), self.by_item)
