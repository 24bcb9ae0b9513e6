"""Distinct (user, item) pairs, and the items of each user."""

from typing import TypeAlias

import numpy as np

Pairs: TypeAlias = tuple[np.ndarray, np.ndarray]
"""User and item (P,) int64 of distinct ratings."""


class Lists:
    """The items of each user, from distinct pairs (P,)."""

    def __init__(self, user: np.ndarray, item: np.ndarray, users: int) -> None:
        self.item = item[np.argsort(user, kind="stable")]
        self.count = np.bincount(user, minlength=users)
        self.first = np.cumsum(self.count) - self.count

    def of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (n,) of place in `users` and item, of users (m,)."""
        size = self.count[users]
        place = np.repeat(np.arange(len(users)), size)
        return place, self.item[np.arange(len(place)) - np.repeat(np.cumsum(size) - size - self.first[users], size)]
