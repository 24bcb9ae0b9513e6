"""Metrics of full rankings hold to those of `metrics`, place by place; masks, ties, chunks."""

import numpy as np
import pytest
import torch

from reelmill.models.data.pairs import Lists
from reelmill.models.metrics import full_ranking as ranking
from reelmill.models.metrics import ranking as metrics
from reelmill.models.metrics.full_ranking import Queries, chance, measured, names, places
from reelmill.models.metrics.table import LONG
from reelmill.storage.errors import InputError

CPU = torch.device("cpu")
USERS, ITEMS = 30, 25


def world(levels: int, seed: int = 0) -> tuple[np.ndarray, Queries]:
    """Scores with so many levels, and users of whom some have no relevant item and some know much."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(USERS, ITEMS)).astype(np.float32)
    fate = rng.choice(3, size=(USERS, ITEMS), p=[0.6, 0.2, 0.2])
    fate[rng.integers(USERS, size=4)] = 1
    known, relevant = np.nonzero(fate == 1), np.nonzero(fate == 2)
    shuffled = rng.permutation(len(relevant[0]))
    return scores, Queries.of((relevant[0][shuffled], relevant[1][shuffled]), Lists(*known, USERS), ITEMS)


def one_by_one(scores: np.ndarray, queries: Queries) -> dict[str, np.ndarray]:
    """The same lists, candidate by candidate, through `metrics`."""
    truth = np.zeros((USERS, ITEMS), bool)
    truth[queries.users[queries.case], queries.item] = True
    masked = np.zeros((USERS, ITEMS), bool)
    masked[queries.known.of(np.arange(USERS))] = True
    score = np.concatenate([scores[u][~masked[u]] for u in queries.users])
    relevant = np.concatenate([truth[u][~masked[u]] for u in queries.users])
    start = np.concatenate([[0], np.cumsum([(~masked[u]).sum() for u in queries.users])])
    ranked = metrics.rank(score, relevant, start)
    of = {"recall": metrics.recall, "ndcg": metrics.ndcg, "hr": metrics.hit_ratio}
    return {
        **{f"{name}@{n}": of[name](ranked, n) for name in of for n in (1, 3, 10, 40)},
        "map": metrics.average_precision(ranked),
    }


@pytest.mark.parametrize("at_once", [1, 60, 1 << 19])
@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
def test_every_metric_is_that_of_candidates_one_by_one(
    levels: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From all tied to none, some users at a time or all at once."""
    monkeypatch.setattr(ranking, "AT_ONCE", at_once)
    scores, queries = world(levels)
    table = torch.from_numpy(scores)
    found = measured(places(queries, lambda users: table[users], CPU), (1, 3, 10, 40))
    expected = one_by_one(scores, queries)
    assert names((1, 3, 10, 40)) == list(expected)
    for column, (name, values) in enumerate(expected.items()):
        np.testing.assert_allclose(found[:, column], values, atol=1e-12, err_msg=name)
    assert torch.equal(table, torch.from_numpy(scores))  # masking leaves the scorer's own numbers alone


def test_chance_is_the_ranking_of_equal_scores() -> None:
    scores, queries = world(1)
    even = places(queries, lambda users: torch.zeros(len(users), ITEMS), CPU)
    np.testing.assert_allclose(measured(chance(queries), (3, 10)), measured(even, (3, 10)), atol=1e-12)
    assert (scores == 0).all()


def test_a_known_item_takes_no_place() -> None:
    queries = Queries.of((np.array([1]), np.array([2])), Lists(np.array([0, 1, 1]), np.array([3, 0, 4]), 2), 5)
    scores = torch.tensor([[0.0] * 5, [9.0, 5.0, 4.0, 1.0, 8.0]])
    found = places(queries, lambda users: scores[users], CPU)
    assert (found.above.tolist(), found.size.tolist(), found.relevant.tolist()) == ([1], [1], [1])
    assert chance(queries).size.tolist() == [3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error(bad: float) -> None:
    _, queries = world(5)
    scores = torch.zeros(USERS, ITEMS)
    scores[queries.users[-1], 3] = bad
    with pytest.raises(InputError, match="the model diverged"):
        places(queries, lambda users: scores[users], CPU)


def test_long_lists_have_the_same_names_everywhere() -> None:
    assert list(LONG) == names((10, 20))
    scores, queries = world(5)
    table = torch.from_numpy(scores)
    found = measured(places(queries, lambda users: table[users], CPU), (10, 20))
    expected = one_by_one(scores, queries)
    np.testing.assert_allclose(found[:, 0], expected["recall@10"], atol=1e-12)
