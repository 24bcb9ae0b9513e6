"""Rows of tables, of which a batch names a few: their inner products, and an optimiser that touches no others.

Both are what torch offers, done once for all rows of a batch: on two cores a step of BPR takes a third of the time.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-10
"""Keeps the step of a row without any gradient at zero."""


def inner(one: Tensor, of: Tensor, other: Tensor, places: Tensor) -> Tensor:
    """⟨one[of_b], other[places_bs]⟩, (B, S), of tables (m, D) and (n, D) and places (B,) and (B, S)."""
    return _Inner.apply(one, of, other, places)


class _Inner(torch.autograd.Function):
    """With G the sparse (m, n) matrix of the gradients of all products, the gradient of `one` is G · other and that of
    `other` is Gᵀ · one: sums of rows, which need no (B, S, D) of their own. Sums are in one order, whatever the
    number of threads."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, of: Tensor, other: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(one, of, other, places)
        return torch.bmm(F.embedding(places, other), F.embedding(of, one)[:, :, None]).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None]:
        one, of, other, places = ctx.saved_tensors
        weight, place, of = gradients[0].flatten(), places.flatten(), of.repeat_interleave(places.shape[1])
        return _gather(other, place, of, weight, len(one)), None, _gather(one, of, place, weight, len(other)), None


def _gather(table: Tensor, rows: Tensor, into: Tensor, weight: Tensor, size: int) -> Tensor:
    """(size, D): row k is the sum of weight · table[rows] over the entries (E,) with into = k."""
    order = torch.argsort(into, stable=True)
    start = F.pad(torch.cumsum(torch.bincount(into, minlength=size), 0), (1, 0))
    return F.embedding_bag(
        rows[order], table, start, mode="sum", include_last_offset=True, per_sample_weights=weight[order]
    )


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
        square = gradient.square().mean(1, keepdim=True)
        if rows is None or len(rows) == len(parameter):
            total = state["sum"].add_(square)
            parameter.addcdiv_(gradient, total.sqrt() + EPSILON, value=-rate)
        else:
            state["sum"][rows] = total = state["sum"][rows] + square
            parameter[rows] = torch.addcdiv(parameter[rows], gradient, total.sqrt() + EPSILON, value=-rate)
