"""Weighted matrix factorisation of implicit feedback by alternating least squares (Hu, Koren and Volinsky,
"Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008). It minimises over users x_u and items y_i

    Σ_{u,i} c_ui (p_ui − x_u·y_i)² + λ (Σ_u |x_u|² + Σ_i |y_i|²),    c_ui = 1 + α r_ui,   p_ui = 1 if r_ui > 0 else 0

where the first sum is over *all* pairs, with r_ui = 0 for those without an entry. For fixed items each user is a ridge
regression with D unknowns, (Σ_i c_ui y_i y_iᵀ + λ) x_u = Σ_i c_ui p_ui y_i, and the other way round.

All rows are solved at once by conjugate gradients (Takács, Pilászy and Tikk, "Applications of the Conjugate Gradient
Method for Implicit Feedback Collaborative Filtering", RecSys 2011): a step multiplies each row by its matrix through
YᵀY, which all rows share, and through the row's own entries, so that no (D, D) matrix is made for a row. In a sweep
`STEPS` of them start from the row's last value; `fold_in` goes on until a row from nowhere is exact.

The equations are commonly known and were not read in the paper for this; `implicit`, the oracle of the tests, has the
same loss and the same steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reelmill.models.core import sparse

STEPS = 3
"""Of conjugate gradients for each row in a sweep, as in `implicit`."""
EXACT = 1e-6
"""`fold_in` ends when every residual is shorter than this share of its right-hand side."""
AT_ONCE = 4096
"""Rows that are solved at a time: what a step holds of them stays in a processor's cache."""


@dataclass(frozen=True)
class Factors:
    """Both sides of a factorisation."""

    users: Tensor
    """(U, D)"""
    items: Tensor
    """(N, D)"""


def factorise(ratings: Tensor, dim: int, alpha: float, l2: float, sweeps: int, generator: torch.Generator) -> Factors:
    """Factors of r (U, N), CSR, after so many sweeps from items drawn by `start`."""
    factors = Factors(
        ratings.values().new_zeros(len(ratings), dim), start(ratings.shape[1], dim, generator).to(ratings.device)
    )
    backwards = sparse.transposed(ratings)
    for _ in range(sweeps):
        factors = sweep(ratings, backwards, factors, alpha, l2)
    return factors


def start(items: int, dim: int, generator: torch.Generator) -> Tensor:
    """(N, D) items to begin with, drawn on the generator's device with deviation 0.01."""
    return 0.01 * torch.randn(items, dim, generator=generator, device=generator.device)


def sweep(ratings: Tensor, backwards: Tensor, factors: Factors, alpha: float, l2: float) -> Factors:
    """First the users, then the items of r (U, N), CSR; `backwards` is its transpose."""
    users = solve(ratings, factors.items, factors.users, alpha, l2)
    return Factors(users, solve(backwards, users, factors.items, alpha, l2))


def solve(ratings: Tensor, other: Tensor, begin: Tensor, alpha: float, l2: float, steps: int = STEPS) -> Tensor:
    """(n, D) the rows of r (n, m), CSR, for fixed rows (m, D) of the other side, after so many steps from (n, D)."""
    shared = other.T @ other + l2 * torch.eye(other.shape[1], dtype=other.dtype, device=other.device)
    parts = zip(sparse.slices(ratings, AT_ONCE), begin.split(AT_ONCE), strict=True)
    return torch.cat([_descend(some, other, shared, rows, alpha, steps) for some, rows in parts])


def fold_in(ratings: Tensor, items: Tensor, alpha: float, l2: float) -> Tensor:
    """(n, D) users with entries r (n, N), CSR, whom the items (N, D) have not met; zero without an entry."""
    dim = items.shape[1]
    return solve(ratings, items, items.new_zeros(len(ratings), dim), alpha, l2, steps=2 * dim)


def loss(ratings: Tensor, factors: Factors, alpha: float, l2: float) -> float:
    """What is minimised. Pairs without an entry are summed through XᵀX and YᵀY, without a pass over them."""
    users, items = factors.users, factors.items
    total = (
        ((users.T @ users) * (items.T @ items)).sum() + l2 * (users.square().sum() + items.square().sum())
    ).double()
    for some, rows in zip(sparse.slices(ratings, AT_ONCE), users.split(AT_ONCE), strict=True):
        found = _products(some, rows, items)
        total += ((1 + alpha * some.values()) * (1 - found).square() - found.square()).sum()
    return float(total)


def _products(ratings: Tensor, rows: Tensor, other: Tensor) -> Tensor:
    """(P,) rows[u]·other[i] at the entries (u, i) of r."""
    nothing = sparse.csr(ratings.crow_indices(), ratings.col_indices(), torch.zeros_like(ratings.values()), len(other))
    return torch.sparse.sampled_addmm(nothing, rows, other.T, beta=0.0).values()


def _descend(ratings: Tensor, other: Tensor, shared: Tensor, rows: Tensor, alpha: float, steps: int) -> Tensor:
    """Conjugate gradients for all rows (n, D) of r (n, m) at once; ends early when all are exact."""
    extra = alpha * ratings.values()

    def summed(weight: Tensor) -> Tensor:
        """(n, D) Σ_i weight_ui y_i."""
        return sparse.product(sparse.csr(ratings.crow_indices(), ratings.col_indices(), weight, len(other)), other)

    def apply(x: Tensor) -> Tensor:
        """(Σ_i c_ui y_i y_iᵀ + λ) x_u."""
        return x @ shared + summed(extra * _products(ratings, x, other))

    right = summed(1 + extra)
    small = EXACT**2 * right.square().sum(1, keepdim=True)
    left = right - apply(rows)
    direction, size = left, left.square().sum(1, keepdim=True)
    for _ in range(steps):
        if bool((size <= small).all()):
            break
        along = apply(direction)
        moved = size / (direction * along).sum(1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
        rows, left = torch.addcmul(rows, moved, direction), torch.addcmul(left, moved, along, value=-1)
        before, size = size, left.square().sum(1, keepdim=True)
        direction = torch.addcmul(left, size / before.clamp(min=torch.finfo(size.dtype).tiny), direction)
    return rows
