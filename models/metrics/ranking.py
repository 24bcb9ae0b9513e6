"""Ranking metrics over many cases at once; `table` lists them. A case is one list of candidates, some of them relevant:
here mostly the segments of one video for one user.

Notation of the formulas: a case has n candidates, R ≥ 1 of them relevant; p = 1 … n is a place in the ranking, rel_p is
1 if the candidate there is relevant, H_p = rel_1 + … + rel_p.

**Ties count by expectation**, but for `grouped_highlight_ap`: candidates with equal scores are taken to be in random
order, and a metric is its expected value over these orders, computed exactly. Constant scores therefore give the random
ranking's expected value, and a model cannot gain or lose by the order of its input.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Ranking:
    """Cases ranked by score. Arrays over places are (T,), T candidates of all cases together, best first within a case;
    arrays over tie groups are (G,); arrays over cases are (C,)."""

    start: np.ndarray
    """(C + 1,) int64: case c holds places start[c] … start[c + 1] − 1."""
    case: np.ndarray
    """(T,) case of each place."""
    place: np.ndarray
    """(T,) p, from 1 in each case."""
    score: np.ndarray
    """(T,) float64, falling within a case."""
    group: np.ndarray
    """(T,) tie group of each place; groups are numbered in order."""
    offset: np.ndarray
    """(T,) place within its tie group, from 0."""
    size: np.ndarray
    """(G,) candidates in the group, s."""
    hits: np.ndarray
    """(G,) relevant ones among them, r."""
    above: np.ndarray
    """(G,) candidates of the case above the group, a."""
    hits_above: np.ndarray
    """(G,) relevant ones among those, h."""
    relevant: np.ndarray
    """(C,) R."""

    @property
    def expected(self) -> np.ndarray:
        """(T,) E[rel_p] = r / s of the place's group."""
        return (self.hits / self.size)[self.group]

    def total(self, values: np.ndarray) -> np.ndarray:
        """(C,) sum over the places of each case of values (T,)."""
        return np.add.reduceat(values, self.start[:-1])


def rank(score: np.ndarray, relevant: np.ndarray, start: np.ndarray) -> Ranking:
    """Rank candidates (T,) of cases given by start (C + 1,). Scores must be finite; every case needs a relevant
    candidate. Raises InputError."""
    score, relevant = np.asarray(score, np.float64), np.asarray(relevant, np.int64)
    sizes = np.diff(start)
    if len(sizes) == 0 or score.shape != (start[-1],) or relevant.shape != score.shape:
        raise InputError(f"{len(score)} scores, {len(relevant)} truths and {len(sizes)} cases do not fit together")
    if not np.isfinite(score).all():
        raise InputError(
            "a score is NaN or infinite: the model diverged; lower the learning rate or check the features"
        )
    if (sizes < 1).any() or (np.add.reduceat(relevant, start[:-1]) < 1).any():
        raise InputError("a case has no relevant candidate: leave such cases out and count them")
    case = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-score, case))
    score, relevant = score[order], relevant[order]
    first = np.ones(len(score), bool)
    first[1:] = (np.diff(case) != 0) | (np.diff(score) != 0)
    begin = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    hits = np.add.reduceat(relevant, begin)
    before = np.concatenate([[0], np.cumsum(relevant)])
    return Ranking(
        start=np.asarray(start, np.int64),
        case=case,
        place=np.arange(len(score)) - start[case] + 1,
        score=score,
        group=group,
        offset=np.arange(len(score)) - begin[group],
        size=np.diff(np.append(begin, len(score))),
        hits=hits,
        above=begin - start[case[begin]],
        hits_above=before[begin] - before[start[case[begin]]],
        relevant=np.add.reduceat(relevant, start[:-1]),
    )


def hit_ratio(ranking: Ranking, top: int) -> np.ndarray:
    """(C,) HR@N = H_N / min(N, R). TransGRec's Table 3 sits on exactly this lattice."""
    return _hits(ranking, top) / np.minimum(top, ranking.relevant)


def recall(ranking: Ranking, top: int) -> np.ndarray:
    """(C,) Recall@N = H_N / R."""
    return _hits(ranking, top) / ranking.relevant


def any_hit(ranking: Ranking, top: int) -> np.ndarray:
    """(C,) Hit@N = 1 if H_N ≥ 1, else 0; other papers call this the hit ratio.

    With ties 1 − Π_p (s − r − t) / (s − t) over the places p ≤ N, t the place within its group: the chance that none is
    relevant, drawing without replacement."""
    size, hits = ranking.size[ranking.group], ranking.hits[ranking.group]
    misses = np.maximum(size - hits - ranking.offset, 0) / (size - ranking.offset)
    misses[ranking.place > top] = 1.0
    return 1.0 - np.multiply.reduceat(misses, ranking.start[:-1])


def ndcg(ranking: Ranking, top: int) -> np.ndarray:
    """(C,) NDCG@N = Σ_{p ≤ N} rel_p / log2(p + 1)  over  Σ_{p ≤ min(N, R)} 1 / log2(p + 1)."""
    discount = np.where(ranking.place <= top, 1.0 / np.log2(ranking.place + 1), 0.0)
    ideal = np.cumsum(1.0 / np.log2(np.arange(top) + 2))
    return ranking.total(ranking.expected * discount) / ideal[np.minimum(top, ranking.relevant) - 1]


def average_precision(ranking: Ranking) -> np.ndarray:
    """(C,) segment-level AP = 1/R Σ_p rel_p · H_p / p over all candidates. Its mean is MAP.

    With ties E[rel_p · H_p] = r/s · (h + 1 + t (r − 1)/(s − 1)): given that place p is relevant, each of the t places
    above it in its group is relevant with chance (r − 1)/(s − 1)."""
    size, hits = ranking.size[ranking.group], ranking.hits[ranking.group]
    above = ranking.hits_above[ranking.group] + ranking.offset * (hits - 1) / np.maximum(size - 1, 1)
    return ranking.total(ranking.expected * (above + 1) / ranking.place) / ranking.relevant


def nmsd(ranking: Ranking) -> np.ndarray:
    """(C,) normalised meaningful summary duration (Video2GIF): how much is watched until half the truth was seen.

    th = median score of the relevant candidates (linear between the two middle ones), D = number of candidates with
    score ≥ th, m = R/2, nMSD = (D − m) / (n − m). 0 is best, random about one half.

    Published like this it is the one metric here that sees more than the order: with R even the threshold lies midway
    between two *scores*, so that skewed scores of a model without any skill come out about 0.01 better than random.

    With ties: the k-th of a group's r relevant ones has on average k (s − r)/(r + 1) others above it, and when both
    middle ones are in one group the threshold falls on average halfway between them."""
    truths = ranking.relevant
    upper, lower = (truths + 1) // 2, truths // 2 + 1
    earlier = np.concatenate([[0], np.cumsum(truths)])[:-1]
    seen = np.cumsum(ranking.hits)
    high, low = np.searchsorted(seen, earlier + upper), np.searchsorted(seen, earlier + lower)
    k = upper - ranking.hits_above[high]
    others = (ranking.size - ranking.hits)[high] / (ranking.hits[high] + 1)
    tied = ranking.above[high] + k + (k + (lower - upper) / 2) * others
    watched = np.where(high == low, tied, _watched(ranking, high, low))
    return (watched - truths / 2) / (np.diff(ranking.start) - truths / 2)


def grouped_nmsd(ranking: Ranking) -> np.ndarray:
    """(C,) nMSD as published, with ties: D counts every candidate with score ≥ th."""
    truths = ranking.relevant
    earlier = np.concatenate([[0], np.cumsum(truths)])[:-1]
    seen = np.cumsum(ranking.hits)
    high, low = (np.searchsorted(seen, earlier + k) for k in ((truths + 1) // 2, truths // 2 + 1))
    return (_watched(ranking, high, low) - truths / 2) / (np.diff(ranking.start) - truths / 2)


def _watched(ranking: Ranking, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """(C,) candidates with at least the mean score of two tie groups (C,), those of the middle relevant candidates."""
    begin = np.searchsorted(ranking.group, np.stack([high, low]))
    threshold = ranking.score[begin].mean(axis=0)
    return ranking.total((ranking.score >= threshold[ranking.case]).astype(np.int64))


def highlight_ap(ranking: Ranking) -> np.ndarray:
    """(C,) average precision of highlight detection (Video2GIF): precision along the ranking, made monotone, and its
    **unweighted mean** over the places where recall changes: 1/R Σ_k max_{j ≥ k} j / p_j, p_j the place of the j-th
    relevant candidate. Never below the segment-level AP."""
    mixed = (ranking.hits > 0) & (ranking.hits < ranking.size)
    truth = np.flatnonzero(ranking.expected > 0.5)  # exact where no group is mixed
    case = ranking.case[truth]
    j = np.arange(len(truth)) - np.searchsorted(case, case) + 1
    precision = np.zeros((len(ranking.relevant), int(j.max(initial=1))))
    precision[case, j - 1] = j / ranking.place[truth]
    monotone = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    monotone[np.arange(monotone.shape[1]) >= ranking.relevant[:, None]] = 0.0
    value = monotone.sum(axis=1) / ranking.relevant
    home = ranking.case[np.searchsorted(ranking.group, np.arange(len(ranking.size)))]
    for c in np.unique(home[mixed]).tolist():
        a, b = np.searchsorted(home, [c, c + 1])
        value[c] = _expected_highlight_ap(tuple(ranking.size[a:b].tolist()), tuple(ranking.hits[a:b].tolist()))
    return value


def grouped_highlight_ap(ranking: Ranking) -> np.ndarray:
    """(C,) highlight AP with the published tie rule (`get_ap` of Video2GIF's evaluation, by scikit-learn's
    precision-recall curve): candidates of one score enter **as one group**, so that precision and recall exist only
    after whole groups, and the mean is over the groups that hold a relevant candidate:

    1/|K| Σ_{k ∈ K} max_{j ≥ k} (h_j + r_j) / (a_j + s_j).

    Without ties it is `highlight_ap`; with ties it is another number, so only this one compares with published tables.
    Constant scores give R/n."""
    home = ranking.case[np.searchsorted(ranking.group, np.arange(len(ranking.size)))]
    return group_mean(home, ranking.hits, ranking.size, len(ranking.relevant))


def group_mean(case: np.ndarray, hits: np.ndarray, size: np.ndarray, cases: int) -> np.ndarray:
    """(cases,) mean of the monotone precision at the groups with a relevant part. Groups (G,) are in order of the case,
    the best first; `hits` and `size` are how much of each is relevant, and how much it holds, in any unit."""
    place = np.arange(len(case)) - np.searchsorted(case, case)
    table = np.zeros((3, cases, int(place.max(initial=0)) + 1))
    table[:2, case, place] = hits, size
    precision = np.cumsum(table[0], axis=1) / np.maximum(np.cumsum(table[1], axis=1), 1e-12)
    there = np.zeros(precision.shape, bool)
    there[case, place] = True
    monotone = np.maximum.accumulate(np.where(there, precision, 0)[:, ::-1], axis=1)[:, ::-1]
    counted = table[0] > 0
    return np.where(counted, monotone, 0).sum(axis=1) / counted.sum(axis=1)


def permuted_nmsd(ranking: Ranking, rng: np.random.Generator, draws: int = 40) -> np.ndarray:
    """(C,) nMSD of the same scores when the labels of each case are permuted, mean over some draws: what these scores
    get without any skill. It is not the row `random`, since `nmsd` depends on how the scores are spread."""
    begin = np.searchsorted(ranking.group, np.arange(len(ranking.size)))
    offset = np.arange(len(ranking.case)) - ranking.start[ranking.case]
    chosen = offset < ranking.relevant[ranking.case]
    total = np.zeros(len(ranking.relevant))
    for _ in range(draws):
        shuffled = np.lexsort((rng.random(len(chosen)), ranking.case))
        relevant = np.zeros(len(chosen), np.int64)
        relevant[shuffled[chosen]] = 1
        before = np.concatenate([[0], np.cumsum(relevant)])
        hits = np.add.reduceat(relevant, begin)
        above = before[begin] - before[ranking.start[ranking.case[begin]]]
        total += nmsd(replace(ranking, hits=hits, hits_above=above))
    return total / draws


@lru_cache(maxsize=1 << 14)
def _expected_highlight_ap(sizes: tuple[int, ...], hits: tuple[int, ...]) -> float:
    """Highlight AP of one case with ties, exactly: walk from the last place up and carry the distribution of (relevant
    ones left in the group, largest precision so far)."""
    n, total = sum(sizes), sum(hits)
    j = np.arange(1, total + 1)[:, None]
    level = np.unique(np.append((j / np.maximum(j, np.arange(1, n + 1))).ravel(), 0.0))
    mass = np.zeros(len(level))
    mass[0] = 1.0
    value, place, above = 0.0, n, total
    for s, r in zip(reversed(sizes), reversed(hits), strict=True):
        above -= r
        left = np.zeros((r + 1, len(level)))
        left[r] = mass
        for t in range(s, 0, -1):
            now = left.copy()
            for k in range(max(1, r - (s - t)), min(r, t) + 1):  # k relevant ones left among t places
                drawn = left[k] * (k / t)
                now[k] -= drawn
                at = np.searchsorted(level, (above + k) / place)
                raised = np.where(np.arange(len(level)) < at, 0.0, drawn)
                raised[at] += drawn[:at].sum()
                now[k - 1] += raised
                value += float(raised @ level)
            left, place = now, place - 1
        mass = left[0]
    return value / total


def _hits(ranking: Ranking, top: int) -> np.ndarray:
    return ranking.total(np.where(ranking.place <= top, ranking.expected, 0.0))


def interval(
    values: np.ndarray, rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of the mean over cases: values (C, …) → low and high (…), percentiles of the resampled means.
    Columns are resampled together, so pass paired differences for a paired interval."""
    low, high = np.quantile(resampled(values, rng, resamples), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def resampled(values: np.ndarray, rng: np.random.Generator, resamples: int = 2000) -> np.ndarray:
    """Means (resamples, …) over as many cases, drawn with repetition, of values (C, …); columns stay together."""
    flat = values.reshape(len(values), -1)
    share = np.full(len(flat), 1 / len(flat))
    chunk = max(1, (1 << 24) // len(flat))
    means = np.concatenate(
        [
            rng.multinomial(len(flat), share, size=min(chunk, resamples - done)) @ flat / len(flat)
            for done in range(0, resamples, chunk)
        ]
    )
    return means.reshape(-1, *values.shape[1:])
