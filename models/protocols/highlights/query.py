"""What a model of highlights reads: windows or whole videos, and the past highlights of their users."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Query:
    """B windows or whole videos, and the histories of their users. Rows are as in the store; they may hold anything,
    NaN too, where a mask is False."""

    steps: Tensor
    """(B, T, dim)."""
    valid: Tensor
    """(B, T) bool: neither padding nor without a decodable frame."""
    clips: Tensor
    """(C, L, dim) past highlights of all users, each from its first step, padded at the end; C and L may be 0."""
    clip_valid: Tensor
    """(C, L) bool. A clip without a valid step is no history."""
    history: Tensor
    """(B, n) int64, rows of `clips`, the newest highlight first, padded with −1; n may be 0."""


@dataclass(frozen=True)
class Batch:
    """Windows to train on. Those without a highlight count for nothing."""

    query: Query
    highlight: Tensor
    """(B, T) bool: labelled by the window's user."""
