"""Sparse updates of embedding tables: inner products and squared norms of the rows that a batch uses, and an optimiser
that reads and writes these rows alone. torch has all of it row by row; done at once for all rows of a batch, a step of
BPR takes less than a third of the time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-10
"""Keeps the step of a row without any gradient at zero."""


def pick(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (…) of a table (n, D): (…, D). Unlike `table[rows]`, whose gradient on a CPU is added up by several threads
    at once in any order, this gives equal numbers in equal fits."""
    return F.embedding(rows, table)


def integers(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Integers or booleans as int64 on the device."""
    return torch.from_numpy(np.ascontiguousarray(numbers, np.int64)).to(device)


def inner(one: Tensor, of: Tensor, other: Tensor, bias: Tensor, places: Tensor) -> Tensor:
    """⟨one[of_b], other[places_bs]⟩ + bias[places_bs], (B, S), of tables (m, D) and (n, D), numbers (n,), and places
    (B,) and (B, S)."""
    return _Inner.apply(one, of, other, bias, places)


class _Inner(torch.autograd.Function):
    """With G the sparse (m, n) matrix of the gradients of all products, the gradient of `one` is G · other, that of
    `other` is Gᵀ · one and that of `bias` Gᵀ · 1: sums of rows, which need no (B, S, D) of their own. Sums are in one
    order, whatever the number of threads."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, of: Tensor, other: Tensor, bias: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(one, of, other, places)
        product = torch.bmm(F.embedding(places, other), F.embedding(of, one)[:, :, None]).squeeze(-1)
        return product + bias.index_select(0, places.flatten()).view_as(places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        one, of, other, places = ctx.saved_tensors
        weight, place, of = gradients[0].flatten(), places.flatten(), of.repeat_interleave(places.shape[1])
        by_one, by_other = _Groups(of, len(one)), _Groups(place, len(other))
        counted = by_other.sums(one.new_ones(1, 1), torch.zeros_like(place), weight)
        return by_one.sums(other, place, weight), None, by_other.sums(one, of, weight), counted[:, 0], None


def ascending(numbers: Tensor) -> Tensor:
    """Integers (n,) sorted. On a CPU by NumPy, which takes a fifth of torch's time."""
    return numbers.sort().values if numbers.is_cuda else torch.from_numpy(np.sort(numbers.numpy()))


class _Groups:
    """Entries (E,) put together by the row `into` which each is to be added to, of so many rows."""

    def __init__(self, into: Tensor, size: int) -> None:
        self.start = F.pad(torch.cumsum(torch.bincount(into, minlength=size), 0), (1, 0))
        self.order: Tensor | None = None
        if into.is_cuda or bool((into[1:] < into[:-1]).any()):  # to look is cheaper than to sort, and a GPU would wait
            bits = (len(into) - 1).bit_length()
            entry = torch.arange(len(into), device=into.device)
            self.order = ascending((into << bits) | entry) & ((1 << bits) - 1)

    def sums(self, table: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        """(size, D): row k is the sum of weight · table[rows] over the entries with into = k."""
        if self.order is not None:
            rows, weight = rows.index_select(0, self.order), weight.index_select(0, self.order)
        return F.embedding_bag(rows, table, self.start, mode="sum", include_last_offset=True, per_sample_weights=weight)


def squares(table: Tensor, share: Tensor) -> Tensor:
    """Σ_r share_r |table_r|², of rows (n, D) and numbers (n,), which are constants."""
    return _Squares.apply(table, share)


class _Squares(torch.autograd.Function):
    """In two passes over the table, and one for the gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, share: Tensor) -> Tensor:
        weighted = table * share[:, None]
        ctx.save_for_backward(weighted)
        return torch.dot(weighted.flatten(), table.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weighted,) = ctx.saved_tensors
        return weighted * (2 * gradients[0]), None


class RowAdagrad(torch.optim.Optimizer):
    """θ_r ← θ_r − η g_r / √G_r, where G_r sums the mean square of the row's gradients g_r (Duchi et al., 2011, with one
    G for a whole row).

    Of a sparse gradient only the rows that it names are read and written, so that a step costs what its batch costs,
    whatever the size of the table. Such a gradient names each row once, in ascending order, as that of
    `F.embedding(rows, table, sparse=True)` does for distinct rows: rows are not looked for twice, and the last one of
    two would count alone."""

    def __init__(self, parameters: list[nn.Parameter] | list[dict[str, Any]], learning_rate: float) -> None:
        """Parameters, or groups of them with an `lr` of their own, as for any optimiser of torch."""
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"])

    def _move(self, parameter: nn.Parameter, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["sum"] = parameter.new_zeros(len(parameter), 1)
        rows = None
        if gradient.is_sparse:
            rows, gradient = gradient._indices()[0], gradient._values()
        square = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).square() / gradient.shape[1]
        if rows is None or len(rows) == len(parameter):
            total = state["sum"].add_(square)
            parameter.addcdiv_(gradient, total.sqrt() + EPSILON, value=-rate)
        else:
            state["sum"][rows] = total = state["sum"][rows] + square
            parameter[rows] = torch.addcdiv(parameter[rows], gradient, total.sqrt() + EPSILON, value=-rate)
