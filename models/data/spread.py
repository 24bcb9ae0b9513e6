"""Mean and spread of vectors, for standardising them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean of rows f (n, dim), and their squared distances from it."""

    mean: np.ndarray
    """(dim,) float64; zero without rows."""
    square: float
    """Σ |f − mean|² over the rows."""
    rows: int
    """n."""

    @classmethod
    def of(cls, chunks: Callable[[], Iterable[np.ndarray]], dim: int) -> "Spread":
        """Of all rows of chunks (·, dim), in two passes over them."""
        rows, total = 0, np.zeros(dim)
        for chunk in chunks():
            rows, total = rows + len(chunk), total + chunk.sum(axis=0, dtype=np.float64)
        mean = total / max(rows, 1)
        return cls(mean, sum(float(np.square(chunk - mean).sum()) for chunk in chunks()), rows)

    @property
    def rms(self) -> float:
        """Root mean square distance of the rows from their mean."""
        return float(np.sqrt(self.square / max(self.rows, 1)))
