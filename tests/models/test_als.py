"""Alternating least squares: against `implicit`, against plain loops, and rows folded in."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from reelmill.models.core import als, sparse
from reelmill.models.core.als import Factors

ALPHA, L2, DIM = 40.0, 0.7, 8


def ratings(users: int = 60, items: int = 40, kind: torch.dtype = torch.float32) -> torch.Tensor:
    """Values from 1 to 3 at some sixth of all pairs; user 0 and item 0 have none."""
    rng = np.random.default_rng(4)
    dense = rng.integers(1, 4, (users, items)) * (rng.random((users, items)) < 1 / 6)
    dense[0] = dense[:, 0] = 0
    row, column = np.nonzero(dense)
    values = torch.from_numpy(dense[row, column]).to(kind)
    return sparse.of_pairs(torch.from_numpy(row), torch.from_numpy(column), values, users, items)


def plain_loss(dense: np.ndarray, users: np.ndarray, items: np.ndarray) -> float:
    """The sum over all pairs, one by one."""
    total = L2 * sum(float(row @ row) for side in (users, items) for row in side)
    for u, row in enumerate(dense):
        for i, r in enumerate(row):
            total += (1 + ALPHA * r) * (float(r > 0) - float(users[u] @ items[i])) ** 2
    return total


def plain_row(row: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The ridge regression of one user, as the paper states it."""
    left = L2 * np.eye(items.shape[1])
    right = np.zeros(items.shape[1])
    for i, r in enumerate(row):
        left += (1 + ALPHA * r) * np.outer(items[i], items[i])
        right += (1 + ALPHA * r) * float(r > 0) * items[i]
    return np.linalg.solve(left, right)


def drawn(count: int, kind: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(count), dtype=kind)


def test_sparse_matrices_against_dense_ones() -> None:
    one = ratings(kind=torch.float64)
    dense = one.to_dense()
    assert torch.equal(sparse.transposed(one).to_dense(), dense.T)
    assert torch.equal(sparse.product(one, drawn(40)), dense @ drawn(40))
    assert torch.equal(sparse.product(one, sparse.transposed(one)), dense @ dense.T)
    assert torch.equal(torch.cat([some.to_dense() for some in sparse.slices(one, 7)]), dense)
    assert sparse.row_of(one).tolist() == dense.nonzero()[:, 0].tolist()


def test_loss_against_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "AT_ONCE", 7)
    given = ratings(kind=torch.float64)
    expected = plain_loss(given.to_dense().numpy(), drawn(60).numpy(), drawn(40).numpy())
    assert als.loss(given, Factors(drawn(60), drawn(40)), ALPHA, L2) == pytest.approx(expected, rel=1e-12)


def test_a_row_folded_in_is_the_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "AT_ONCE", 7)
    given = ratings(kind=torch.float64)
    expected = [plain_row(row, drawn(40).numpy()) for row in given.to_dense().numpy()]
    found = als.fold_in(given, drawn(40), ALPHA, L2)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert not found[0].any()


def test_its_gradient_vanishes() -> None:
    """By autograd of the plain statement: the exact rows are a minimum."""
    given = ratings(kind=torch.float64)
    dense, items = given.to_dense(), drawn(40)
    users = als.fold_in(given, items, ALPHA, L2).requires_grad_()
    error = ((1 + ALPHA * dense) * ((dense > 0).double() - users @ items.T).square()).sum() + L2 * users.square().sum()
    (gradient,) = torch.autograd.grad(error, users)
    assert gradient.abs().max() < 1e-3 < float(dense.sum())


def test_sweeps_lower_the_loss() -> None:
    given = ratings()
    back, generator = sparse.transposed(given), torch.Generator().manual_seed(0)
    factors = Factors(torch.zeros(60, DIM), als.start(40, DIM, generator))
    losses = []
    for _ in range(6):
        factors = als.sweep(given, back, factors, ALPHA, L2)
        losses.append(als.loss(given, factors, ALPHA, L2))
    assert losses == sorted(losses, reverse=True)
    repeated = als.factorise(given, DIM, ALPHA, L2, 6, torch.Generator().manual_seed(0))
    assert torch.equal(repeated.users, factors.users)
    assert torch.equal(repeated.items, factors.items)


@pytest.mark.filterwarnings("ignore")  # OpenBLAS threads, of which `implicit` warns
def test_against_implicit() -> None:
    """A step, an exact row, and the loss after 25 sweeps from one start."""
    from implicit.cpu.als import AlternatingLeastSquares, _als
    from threadpoolctl import threadpool_limits

    given = ratings(300, 200)
    row, column = sparse.row_of(given).numpy(), given.col_indices().numpy()
    confidence = csr_matrix((1 + ALPHA * given.values().numpy(), (row, column)), (300, 200), dtype=np.float32)
    items, users = drawn(200, torch.float32), drawn(300, torch.float32)
    theirs = {"least_squares_cg": users.numpy().copy(), "least_squares": users.numpy().copy()}
    with threadpool_limits(1, "blas"):
        for name, rows in theirs.items():
            getattr(_als, name)(confidence, rows, items.numpy(), L2, num_threads=1)
        fitted = AlternatingLeastSquares(DIM, L2, iterations=25, num_threads=1)
        begin = als.start(200, DIM, torch.Generator().manual_seed(0))
        fitted.user_factors, fitted.item_factors = np.zeros((300, DIM), np.float32), begin.numpy().copy()
        fitted.fit(confidence, show_progress=False)
    mine = als.solve(given, items, users, ALPHA, L2)
    np.testing.assert_allclose(mine.numpy()[1:], theirs["least_squares_cg"][1:], atol=1e-4)
    np.testing.assert_allclose(als.fold_in(given, items, ALPHA, L2).numpy(), theirs["least_squares"], atol=1e-4)
    ours = als.factorise(given, DIM, ALPHA, L2, 25, torch.Generator().manual_seed(0))
    other = Factors(torch.from_numpy(fitted.user_factors), torch.from_numpy(fitted.item_factors))
    assert als.loss(given, ours, ALPHA, L2) == pytest.approx(als.loss(given, other, ALPHA, L2), rel=1e-3)
