"""Highlight AP as the published evaluation of highlights has it (A-VHD, and so PR-Net's table 1): time in blocks of
five seconds, each with the mean score of its steps; equal scores enter as one group; users without a history are left
out. Only this figure compares with the papers' tables.

Differences that remain: the truth is that of the steps (a step is a highlight if the user's covers more than half of
it), where the authors' is that of the frames; time without a usable step belongs to no block.
"""

from dataclasses import dataclass

import numpy as np

from reelmill.models.data.arrays import spans
from reelmill.models.data.cases import Cases
from reelmill.models.metrics.ranking import group_mean
from reelmill.models.protocols.highlights.cases import by_user
from reelmill.models.protocols.highlights.data import Highlights

PUBLISHED_METRICS = ("highlight_ap_frames",)
BLOCK_MS = 5000
"""Length of a block."""


@dataclass(frozen=True)
class Blocks:
    """The cases of users with a history, as pieces of time: where steps and blocks overlap. Arrays over pieces are
    (n,), by case, then by block."""

    cases: Cases
    step: np.ndarray
    """Candidate of the test that the piece is of, in 0 … T − 1."""
    block: np.ndarray
    """Block that it is in, numbered through all cases; blocks with no piece have no number."""
    ms: np.ndarray
    """Its length."""
    case: np.ndarray
    """(blocks,) case of each block."""
    truth: np.ndarray
    """(blocks,) milliseconds of highlights."""

    @classmethod
    def of(cls, data: Highlights, cases: Cases, with_history: np.ndarray) -> "Blocks":
        """Of cases of steps, those `with_history` (C,) bool."""
        size = np.diff(cases.start)
        kept = np.repeat(with_history, size)
        candidate, case = np.flatnonzero(kept), np.repeat(np.cumsum(with_history) - 1, size)[kept]
        start, stop = (column[cases.segment[candidate]] for column in (data.steps.start_ms, data.steps.stop_ms))
        first = start // BLOCK_MS
        many = np.maximum(-(-stop // BLOCK_MS) - first, 0)
        of, block = np.repeat(np.arange(len(many)), many), spans(first, many)
        ms = np.minimum(stop[of], (block + 1) * BLOCK_MS) - np.maximum(start[of], block * BLOCK_MS)
        home = case[of] * (int(block.max(initial=0)) + 1) + block
        order = np.argsort(home, kind="stable")
        of, ms, home = of[order], ms[order], home[order]
        _, first, number = np.unique(home, return_index=True, return_inverse=True)
        step = candidate[of]
        truth = np.bincount(number, ms * cases.relevant[step], len(first))
        bounds = np.concatenate([[0], np.cumsum(size[with_history])])
        chosen = Cases(cases.user[with_history], cases.video[with_history], bounds, cases.segment[kept],
                       cases.relevant[kept])  # fmt: skip
        return cls(chosen, step, number, ms, case[of[first]], truth)

    def ap(self, scores: np.ndarray) -> np.ndarray:
        """(users, 1) of scores (T,) of the candidates of the test."""
        size = np.bincount(self.block, self.ms, len(self.case))
        score = np.bincount(self.block, self.ms * scores[self.step], len(self.case)) / size
        order = np.lexsort((-score, self.case))
        case, score = self.case[order], score[order]
        begin = np.flatnonzero(np.append(True, (np.diff(case) != 0) | (np.diff(score) != 0)))
        hits, held = (np.add.reduceat(column[order], begin) for column in (self.truth, size))
        return by_user(group_mean(case[begin], hits, held, len(self.cases)), self.cases)[:, None]
