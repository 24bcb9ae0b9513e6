"""The input x of one field in eq. 5 and 6 of paper 003, e = x W, and its product with any W.

B examples, D dimensions. Where x is one-hot it is never written out: its product is a row of W.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Input:
    """x of one field: (B, size) as a whole, or only its few columns that are not zero."""

    present: Tensor
    """(B,) bool."""
    x: Tensor | None
    """(B, size), or (B, Q) at the columns `codes`. Zero where the field is absent. None is 1 in all of them."""
    codes: Tensor | None = None
    """(B, Q)."""

    def times(self, weight: Tensor) -> Tensor:
        """x W: (B, D)."""
        if self.codes is None:
            assert self.x is not None
            return self.x @ weight
        found = rows(weight, self.codes.flatten())
        if self.x is None:
            return found
        if self.codes.shape[1] == 1:
            return found * self.x
        return (found.view(*self.codes.shape, -1) * self.x[..., None]).sum(1)


FEW = 64
"""Sets out of at most so many codes are multiplied as a whole, which is faster than to look up each code."""


def of_codes(codes: Tensor, size: int, pooling: str, dtype: torch.dtype) -> Input:
    """Eq. 6: x has 1/q (`mean`) or 1 at each of the q codes in (B, Q); for one code, (B,), that is eq. 5."""
    codes = codes if codes.dim() == 2 else codes[:, None]
    known = codes >= 0
    one = codes.shape[1] == 1
    if one and codes.device.type == "cpu" and bool(known.all()):  # to look is cheaper, but a GPU would wait for it
        return Input(known[:, 0], None, codes)
    x, codes = known.to(dtype), codes.clamp(min=0)
    if one:
        return Input(known[:, 0], x, codes)
    count = x.sum(1, keepdim=True)
    if pooling == "mean":
        x = x / count.clamp(min=1)
    present = count[:, 0] > 0
    if size <= FEW:
        return Input(present, x.new_zeros(len(x), size).scatter_add_(1, codes, x))
    return Input(present, x, codes)


def of_numbers(x: Tensor) -> Input:
    """Eq. 5 for numbers (B, size). A row with NaN: zero."""
    known = ~x.isnan().any(1)
    return Input(known, torch.where(known[:, None], x, 0.0))


def rows(table: Tensor, codes: Tensor) -> Tensor:
    """Rows (n, D) of a table at codes (n,), with equal gradients in equal fits, unlike `table[codes]`.

    On a CPU the gradient of `index_select` takes a third of the time of `embedding`'s; on a GPU only that of the latter
    is added up in the same order each time."""
    return F.embedding(codes, table) if table.is_cuda else table.index_select(0, codes)
