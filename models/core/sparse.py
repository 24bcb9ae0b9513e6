"""Sparse matrices of interactions, as torch's CSR tensors: who watched what, or how similar which pairs are.

torch warns once in a process that CSR tensors are in beta; importing this module takes that warning. What is used of
them here (product with a dense or a sparse matrix, products at given places) has tests against dense arithmetic.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    torch.sparse_csr_tensor(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0), (0, 1))


def of_pairs(row: Tensor, column: Tensor, values: Tensor | None, rows: int, columns: int) -> Tensor:
    """(rows, columns) CSR with these values (P,), 1 without any, at pairs (P,), each of which occurs once."""
    key, order = (row * columns + column).sort()
    values = torch.ones(len(key), device=row.device) if values is None else values[order]
    start = F.pad(torch.cumsum(torch.bincount(row, minlength=rows), 0), (1, 0))
    return csr(start, key % columns, values, columns)


def csr(start: Tensor, column: Tensor, values: Tensor, columns: int) -> Tensor:
    """(R, columns) CSR: row r has values[start[r] : start[r + 1]] (E,) in columns (E,); start is (R + 1,)."""
    return torch.sparse_csr_tensor(start, column, values, (len(start) - 1, columns), check_invariants=False)


def row_of(matrix: Tensor) -> Tensor:
    """(P,) the row of each entry of a CSR matrix."""
    count = matrix.crow_indices().diff()
    return torch.repeat_interleave(torch.arange(len(count), device=count.device), count)


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a CSR matrix, as CSR."""
    rows, columns = matrix.shape
    return of_pairs(matrix.col_indices(), row_of(matrix), matrix.values(), columns, rows)


def slices(matrix: Tensor, rows: int) -> Iterator[Tensor]:
    """A CSR matrix, so many rows at a time."""
    start, column, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    for first in range(0, len(matrix), rows):
        own = start[first : first + rows + 1]
        here = slice(int(own[0]), int(own[-1]))
        yield csr(own - own[0], column[here], values[here], matrix.shape[1])


def product(one: Tensor, other: Tensor) -> Tensor:
    """(R, C) dense: the product of a CSR matrix (R, M) with a CSR or dense one (M, C)."""
    return torch.addmm(one.values().new_zeros(len(one), other.shape[1]), one, other)
