"""Sampling of negatives: items that a user has no positive of, drawn evenly."""

import torch
from torch import Tensor


class Negatives:
    """Draws items of 0 … items − 1 that are not among a user's own, on the device of the pairs, without rejection. What
    draws need not be a user: it may be a video, with its marked segments as its own items.

    Let p_0 < p_1 < … be the own items of a user. The r-th item that is not among them is r + #{k : p_k − k ≤ r}, and
    p_k − k does not fall, so one sorted search over (user, p_k − k) counts for all draws at once.
    """

    def __init__(self, user: Tensor, item: Tensor, users: int, items: int | Tensor) -> None:
        """Own items: distinct pairs (P,), in any order. `items`: their number, for all or for each user (users,)."""
        most = items if isinstance(items, int) else int(items.max())
        order = torch.argsort(user * most + item)
        user, item = user[order], item[order]
        self.own = torch.bincount(user, minlength=users)
        self.first = torch.cumsum(self.own, 0) - self.own
        place = torch.arange(len(user), device=user.device) - self.first[user]
        self.room = items - self.own
        self.stride = most + 1
        self.keys = user * self.stride + item - place

    def possible(self, user: Tensor) -> Tensor:
        """(n,) bool: does the user have a negative at all?"""
        return self.room[user] > 0

    def draw(self, user: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """(n, count) negatives of users (n,), drawn evenly from the items that are not the user's own."""
        room = self.room.index_select(0, user)[:, None]
        uniform = torch.rand(len(user), count, generator=generator, device=user.device, dtype=torch.float64)
        nth = torch.minimum((uniform * room).long(), room - 1)
        below = torch.searchsorted(self.keys, user[:, None] * self.stride + nth, right=True)
        return nth + below - self.first.index_select(0, user)[:, None]
