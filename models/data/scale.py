"""The scale of ratings, from the ratings themselves: which of them are a like depends on it.

    ratings seen                     scale          liked from   none below
    0 and 1; −1 and 1; −1, 0, 1      yes and no     1            1; with all three 0
    0 or more, up to 5               five stars     4            3
    0 or more, above 5, up to 10     ten points     8            6
    0 or more, above 50, up to 100   percent        80           60

Anything else has to be told.
"""

from dataclasses import dataclass

import numpy as np

from reelmill.models.data.events import rating_values
from reelmill.storage import Root
from reelmill.storage.errors import InputError

TOPS = ((1.0, 5.0, 5.0), (5.0, 10.0, 10.0), (50.0, 100.0, 100.0))
"""(above, up to, top of the scale) of the highest rating seen."""
LIKED, DISLIKED = 4 / 5, 3 / 5
"""Shares of the top: 4 and 3 of 5 stars."""


@dataclass(frozen=True)
class Scale:
    """What ratings were seen."""

    values: frozenset[float]
    """Distinct ratings, if they are all of −1, 0 and 1; else empty."""
    lowest: float
    highest: float

    @classmethod
    def of(cls, ratings: np.ndarray) -> "Scale | None":
        """Of ratings (n,); None if all of them are NaN."""
        seen = ratings[~np.isnan(ratings)]
        if not len(seen):
            return None
        low, high = float(seen.min()), float(seen.max())
        distinct = frozenset(np.unique(seen).tolist()) if -1 <= low <= high <= 1 else frozenset()
        return cls(distinct if distinct <= {-1.0, 0.0, 1.0} else frozenset(), low, high)

    def thresholds(self) -> tuple[float, float]:
        """Ratings from the first on are likes, those below the second are none. Raises InputError for a scale that is
        not known."""
        if self.values:
            return 1.0, 0.0 if len(self.values) == 3 else 1.0
        for above, most, top in TOPS:
            if self.lowest >= 0 and above < self.highest <= most:
                return LIKED * top, DISLIKED * top
        raise InputError(
            f"ratings from {self.lowest:g} to {self.highest:g} are of no known scale (0 and 1, up to 5, up to 10, up "
            "to 100): name liked, from which on a rating is a like, and disliked, below which it is none"
        )

    @classmethod
    def chosen(cls, ratings: np.ndarray) -> np.ndarray:
        """(n,) bool: which ratings (n,) count where any rating does: all, but those of 0 and below where there is none
        but −1, 0 and 1: what was shown and not clicked was not chosen. NaN, which is no rating, counts."""
        scale = cls.of(ratings)
        return np.ones(len(ratings), bool) if scale is None or not scale.values else ~(ratings <= 0)

    @classmethod
    def says_no_in(cls, root: Root) -> bool:
        """Whether all ratings of a root are of −1, 0 and 1."""
        scale = cls.of(rating_values(root.tables.read("events", ["kind", "value"])))
        return scale is not None and bool(scale.values)

    @property
    def says_no(self) -> bool:
        """Whether a rating of 0 is a no: in a log of 0 and 1."""
        return 0.0 in self.values
