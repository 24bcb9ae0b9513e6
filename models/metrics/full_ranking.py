"""Metrics of full rankings: every user's list holds all items, and only a few of them are relevant.

`metrics` ranks candidates one by one. Here that would be users × items of them; but each metric below depends on the
places of the relevant ones alone, and a place is a count: how many candidates score higher, and how many the same.
Counting costs a comparison for each relevant item and candidate, and sorts nothing.

**Ties count by expectation**, as in `metrics`, whose notation this is: in a tie group of s candidates, r of them
relevant, with a candidates and h relevant ones above, each relevant one is at each of the places a + 1 … a + s with
chance 1 / s. A test holds both modules to the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reelmill.models.data.pairs import Lists, Pairs
from reelmill.storage.errors import InputError

AT_ONCE = 1 << 19
"""Scores that are held, and compared, at a time: 2 MiB, which stay in a processor's cache. With 64 MiB it takes many
times as long."""
KINDS = ("recall", "ndcg", "hr")

Scorer = Callable[[Tensor], Tensor]
"""Users (m,) → scores (m, N) of all items."""


@dataclass(frozen=True)
class Queries:
    """C users, each with a list of all N items without those that the user is known to have."""

    users: np.ndarray
    """(C,) int64, ascending."""
    case: np.ndarray
    """(P,) int64: place in `users` of each relevant pair, ascending."""
    item: np.ndarray
    """(P,) int64."""
    known: Lists
    """What is masked, by user; no relevant pair is."""
    items: int
    """N."""

    @classmethod
    def of(cls, relevant: Pairs, known: Lists, items: int) -> "Queries":
        """One case for each user of the relevant pairs (P,)."""
        order = np.argsort(relevant[0], kind="stable")
        users, case = np.unique(relevant[0][order], return_inverse=True)
        return cls(users, case, relevant[1][order], known, items)

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Places:
    """The places of the relevant items. Arrays over them are (P,), by case."""

    case: np.ndarray
    above: np.ndarray
    """a, candidates with a higher score."""
    size: np.ndarray
    """s, candidates with the same score, itself among them."""
    relevant: np.ndarray
    """(C,) R."""


def places(queries: Queries, score: Scorer, device: torch.device) -> Places:
    """Rank all items for each case, some users at a time. Raises InputError if a score is not finite."""
    users = torch.from_numpy(queries.users).to(device)
    step = max(1, AT_ONCE // queries.items)
    bounds = np.searchsorted(queries.case, np.arange(0, len(queries) + step, step))
    found = []
    for first, begin, end in zip(range(0, len(queries), step), bounds, bounds[1:], strict=False):
        some = users[first : first + step]
        scores = score(some).clone()
        if not bool(scores.sum().isfinite()):
            raise InputError(
                "a score is NaN or infinite: the model diverged; lower learning_rate or check the features"
            )
        hidden = queries.known.of(queries.users[first : first + step])
        scores[tuple(torch.from_numpy(part).to(device) for part in hidden)] = -torch.inf
        case = torch.from_numpy(queries.case[begin:end] - first).to(device)
        item = torch.from_numpy(queries.item[begin:end]).to(device)
        for c, i in zip(case.split(step), item.split(step), strict=True):
            found.append(_counts(scores[c], scores[c, i][:, None]))
    above, size = torch.cat(found, 1).cpu().numpy()
    return Places(queries.case, above, size, np.bincount(queries.case, minlength=len(queries)))


def _counts(rows: Tensor, own: Tensor) -> Tensor:
    """(2, n): how many of rows (n, N) are above own (n, 1), and how many equal. Booleans are summed as floats, which is
    exact up to 2²⁴ and four times as fast."""
    held = torch.empty_like(rows)
    return torch.stack([test(rows, own, out=held).sum(1).long() for test in (torch.gt, torch.eq)])


def chance(queries: Queries) -> Places:
    """Places under equal scores: every candidate ties."""
    size = queries.items - queries.known.count[queries.users]
    return Places(queries.case, np.zeros(len(queries.case), np.int64), size[queries.case], np.bincount(queries.case))


def recall(found: Places, top: int) -> np.ndarray:
    """(C,) Recall@N = H_N / R."""
    return _hits(found, top) / found.relevant


def hit_ratio(found: Places, top: int) -> np.ndarray:
    """(C,) HR@N = H_N / min(N, R)."""
    return _hits(found, top) / np.minimum(top, found.relevant)


def ndcg(found: Places, top: int) -> np.ndarray:
    """(C,) NDCG@N = Σ_{p ≤ N} rel_p / log2(p + 1)  over  Σ_{p ≤ min(N, R)} 1 / log2(p + 1)."""
    gain = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(top) + 2))])
    low, high = (np.minimum(place, top) for place in (found.above, found.above + found.size))
    return _sum(found, (gain[high] - gain[low]) / found.size) / gain[np.minimum(top, found.relevant)]


def average_precision(found: Places) -> np.ndarray:
    """(C,) AP = 1/R Σ_p rel_p · H_p / p over all candidates.

    A relevant one at place a + t + 1 has h + 1 + t (r − 1)/(s − 1) relevant ones up to itself, by expectation; the mean
    of that over t = 0 … s − 1, divided by its place, has the closed form below with the harmonic numbers Σ 1/p."""
    order = np.lexsort((found.above, found.case))
    case, above, size = found.case[order], found.above[order], found.size[order]
    first = np.flatnonzero(np.append(True, (np.diff(case) != 0) | (np.diff(above) != 0)))
    hits = np.diff(np.append(first, len(case)))
    group = np.repeat(np.arange(len(first)), hits)
    start = np.cumsum(found.relevant) - found.relevant
    hits_above, hits = (first - start[case[first]])[group], hits[group]
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, int((above + size).max()) + 1))])
    inverse = harmonic[above + size] - harmonic[above]
    later = (hits - 1) / np.maximum(size - 1, 1) * (size - (above + 1) * inverse)
    return np.bincount(case, ((hits_above + 1) * inverse + later) / size, len(found.relevant)) / found.relevant


def names(top: Sequence[int], kind: str = "") -> list[str]:
    """Names of the metrics, in the order of `measured`."""
    return [f"{kind}{name}@{n}" for name in KINDS for n in top] + [f"{kind}map"]


def measured(found: Places, top: Sequence[int]) -> np.ndarray:
    """(C, metrics): recall, NDCG and hit ratio at each N, and average precision."""
    of = {"recall": recall, "ndcg": ndcg, "hr": hit_ratio}
    return np.stack([*(of[name](found, n) for name in KINDS for n in top), average_precision(found)], axis=1)


def _hits(found: Places, top: int) -> np.ndarray:
    """(C,) E[H_N]: of the places of a tie group min(max(N − a, 0), s) are in the top N."""
    return _sum(found, np.clip(top - found.above, 0, found.size) / found.size)


def _sum(found: Places, values: np.ndarray) -> np.ndarray:
    return np.bincount(found.case, values, len(found.relevant))
