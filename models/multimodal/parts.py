"""The three attentions of the multimodal click-through model (`model`): over modalities, fields and pairs."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.protocols.clicks.fields import Field, FieldVectors, Values


def soft_max(logit: Tensor, present: Tensor) -> Tensor:
    """Over the last axis, among what is present; all zero where nothing is."""
    least = torch.finfo(logit.dtype).min  # −inf would give NaN where nothing is present
    return logit.masked_fill(~present, least).softmax(-1) * present


class Fusion(nn.Module):
    """Weights of the modalities for the user: a_m = softmax_m hᵀ tanh(W_u e_u + W_m x_m + b_m).

    The paper says "incorporates user features into the attention network" and no more. e_u (n_u·D) are the vectors of
    the user's fields end to end, x_m is the modality itself, each with a W_m and b_m of its own: with one b for all,
    and x_m centred, a user could only prefer pictures to sound through what a picture shows.
    W_m starts with spread 1, as x_m has unit length: where tanh is a straight line the user drops out of the soft-max.
    """

    def __init__(self, content: Sequence[Field], guide: int, units: int) -> None:
        super().__init__()
        self.user = nn.Linear(guide, units, bias=False)
        self.modality = FieldVectors(content, units, "mean", std=1.0)
        self.bias = nn.Parameter(torch.zeros(len(content), units))
        self.h = nn.Linear(units, 1, bias=False)

    def forward(self, given: Values, user: Tensor, has: Tensor) -> Tensor:
        """(B, M), from standardised values, e_u (B, n_u·D) and who has what (B, M)."""
        hidden = torch.tanh(self.user(user)[:, None] + self.modality(given)[0] + self.bias)
        return soft_max(self.h(hidden).squeeze(-1), has)


class SelfAttention(nn.Module):
    """Multi-head self-attention (§3; Vaswani et al., 2017): s_i = e_i + W_O [o_i1; …; o_iH] with
    o_ih = Σ_j softmax_j(q_ih·k_jh / √(D/H)) v_jh, where q, k, v = W_Q e, W_K e, W_V e, cut into H heads.

    The paper gives no equations. e_i is added, as in AutoInt: at the start all weights are alike, and without it all
    fields would be one."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.join = nn.Linear(dim, dim, bias=False)

    def forward(self, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """s (B, n, D), zero where absent, and weights (B, H, n, n), of e (B, n, D) and present (B, n)."""
        query, key, value = (
            layer(vectors).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # B, H, n, D/H
            for layer in (self.query, self.key, self.value)
        )
        logit = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        both = present[:, None, :, None] & present[:, None, None, :]
        weights = soft_max(logit, both)
        joined = self.join((weights @ value).transpose(1, 2).flatten(-2))
        return vectors + joined, weights


class Crossing(nn.Module):
    """Attentive crossing: eq. 7 to 9 and p_i = m Σ_{j≠i} M_ij (e_i ⊙ e_j) = e_i ⊙ Σ_{j≠i} m M_ij e_j.

    There are n(n−1)/2 pairs i < j (printed n(n−1)², a slip), and M_ij = M_ji. The number m of pairs that are present is
    ours: weights have mean 1 and not sum 1, so that a cross does not get smaller the more pairs there are. What reads p
    could hold m as well, but it learns at the pace of its inputs, and p without m is too small to be learnt from."""

    both_ways: Tensor

    def __init__(self, fields: int, dim: int, units: int, weights: str) -> None:
        super().__init__()
        self.weights = weights
        self.hidden = nn.Linear(dim, units)
        self.h = nn.Linear(units, 1, bias=False)
        row, column = torch.triu_indices(fields, fields, 1)
        place = F.one_hot(row * fields + column, fields**2) + F.one_hot(column * fields + row, fields**2)
        self.register_buffer("both_ways", place.float(), persistent=False)  # pairs, n²: where M_ij and M_ji stand

    def forward(self, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """p (B, n, D) and M (B, n(n−1)/2), of e (B, n, D) and present (B, n).

        φ_ij = e_i ⊙ e_j (eq. 7); M'_ij = hᵀ ReLU(W φ_ij + b) (eq. 9); M = softmax M' over the pairs of which both are
        present, or M' / ΣM' as printed (eq. 8; 0 where the sum is 0)."""
        n = vectors.shape[1]
        crossed = torch.cat([vectors[:, [i]] * vectors[:, i + 1 :] for i in range(n)], 1)
        both = torch.cat([present[:, [i]] & present[:, i + 1 :] for i in range(n)], 1)
        logit = self.h(F.relu(self.hidden(crossed))).squeeze(-1)
        if self.weights == "softmax":
            weights = soft_max(logit, both)
        else:
            some = logit * both
            total = some.sum(-1, keepdim=True)
            weights = torch.where(total == 0, 0.0, some / torch.where(total == 0, 1.0, total))
        scaled = weights * both.sum(1, keepdim=True)
        matrix = (scaled @ self.both_ways).unflatten(1, (n, n))  # m M, zero on the diagonal
        return vectors * (matrix @ vectors), weights
