"""SVM-D: its description of a segment against plain loops, its minimum against scikit-learn's LinearSVC, the choice of
C."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from reelmill.models.baselines.svmd import SVMDSettings
from reelmill.models.baselines.svmd.model import COSTS, RankingSVM, described
from reelmill.models.registry import settings_for
from reelmill.storage.errors import InputError


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("neighbours", [2, 5, 20])
def test_a_segment_is_described_by_its_nearest_likes(neighbours: int) -> None:
    segments, liked = drawn(3, 4, 6), drawn(3, 7, 6, seed=1)
    there = torch.tensor([[1, 0, 1, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    found = described(segments, liked, there, neighbours).numpy()
    assert found.shape == (3, 4, neighbours + 2)
    for n in range(3):
        kept = liked[n][there[n]].numpy()
        for s in range(4):
            one = segments[n, s].numpy()
            cosines = sorted((float(one @ k / np.linalg.norm(one) / np.linalg.norm(k)) for k in kept), reverse=True)
            nearest = (cosines + [0.0] * neighbours)[:neighbours]
            mean = np.mean(cosines) if cosines else 0.0
            np.testing.assert_allclose(found[n, s], [*nearest, mean, len(cosines)], atol=1e-12)


def test_a_user_without_likes_at_all_ranks_nothing() -> None:
    found = described(drawn(2, 3, 4), drawn(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), 5)
    assert found.shape == (2, 3, 7)
    assert not found.any()


@pytest.mark.parametrize("c", [0.1, 10.0, 1000.0])
def test_the_minimum_is_that_of_scikit_learn(c: float) -> None:
    pairs = drawn(60, 3, 6) + 0.7 * torch.tensor([1.0, -1.0, 0.5, 0.0, 0.0, 0.0])
    model = RankingSVM(SVMDSettings(c=c, neighbours=4), 5).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(3000):
        optimiser.param_groups[0]["lr"] = 0.05 * 0.997**step
        optimiser.zero_grad()
        model.loss(pairs)["loss"].backward()
        optimiser.step()
    flat = pairs.flatten(0, 1).numpy()
    both, sign = np.concatenate([flat, -flat]), np.repeat([1, -1], len(flat))
    oracle = LinearSVC(loss="hinge", C=c / len(both), fit_intercept=False, tol=1e-9, max_iter=1_000_000)
    w = oracle.fit(both, sign).coef_[0]
    objective = np.maximum(0, 1 - flat @ w).mean() + 0.5 * (w @ w) / c
    assert float(model.loss(pairs)["loss"].detach()) == pytest.approx(objective, rel=1e-4)
    np.testing.assert_allclose(model.w.detach().numpy()[0], w, atol=0.02 * np.abs(w).max())


def test_all_costs_are_fitted_as_each_alone() -> None:
    pairs = drawn(20, 2, 7)
    together = RankingSVM(SVMDSettings(neighbours=5), 3).double()
    with torch.no_grad():
        together.w.copy_(drawn(len(COSTS), 7, seed=2))
    together.loss(pairs)["loss"].backward()
    assert together.w.grad is not None
    for place, c in enumerate(COSTS):
        alone = RankingSVM(SVMDSettings(neighbours=5, c=c), 3).double()
        with torch.no_grad():
            alone.w.copy_(together.w[place : place + 1])
        alone.loss(pairs)["loss"].backward()
        assert alone.w.grad is not None
        np.testing.assert_allclose(alone.w.grad[0].numpy(), together.w.grad[place].numpy(), rtol=1e-12)


def test_what_the_settings_refuse() -> None:
    assert SVMDSettings().neighbours == 20
    with pytest.raises(InputError, match="c -1"):
        settings_for("svmd", {"c": -1})
    with pytest.raises(InputError, match="split 'given'"):
        settings_for("svmd", {"split": "given"})
