"""Test cases of rankings: lists of candidates, some of them relevant."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cases:
    """C cases with T candidates in all."""

    user: np.ndarray
    """(C,) int64."""
    video: np.ndarray
    """(C,) int64; −1 for a list of many videos."""
    start: np.ndarray
    """(C + 1,) int64: case c holds candidates start[c] … start[c + 1] − 1."""
    segment: np.ndarray
    """(T,) int64 candidate."""
    relevant: np.ndarray
    """(T,) bool."""

    def __len__(self) -> int:
        return len(self.user)

    @property
    def candidate_user(self) -> np.ndarray:
        """(T,) user of each candidate's case."""
        return np.repeat(self.user, np.diff(self.start))
