"""Attention-based multimodal click-through model (Hasama and Li). Equation and section numbers are the paper's.

B examples, n fields, D dimensions, M modalities, A attention units. Two readings of the fields are combined:
self-attention within (S) and attentive crossing of pairs (P); a linear part and a perceptron over both complete them.

The authors published no code. What the paper leaves open is decided here, and explained where it is decided. Its
"social features" are named and never defined; there are none here.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import torch
from torch import Tensor, nn

from reelmill.models.multimodal.parts import Crossing, Fusion, SelfAttention
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.protocols.clicks.fields import FieldModel, FieldVectors, Reading, Values, perceptron
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Explanation(Reading):
    """What the model looked at. Weights add up to 1 over what an example has, and are 0 where it has none of it."""

    modalities: Tensor
    """(B, M) a of the fusion, by `modality_names`; (B, 0) if nothing is fused."""
    attention: Tensor
    """(B, layers, heads, n, n) from row to column, by `field_names`."""
    crossing: Tensor
    """(B, n(n−1)/2) M_ij, by `pair_names`; (B, 0) without crossing."""


class Multimodal(FieldModel):
    """Self-attention and attentive crossing over the fields, of which one is the modalities fused for the user.

    The order of the fields is that of `sizes`, the fused one last.
    """

    def __init__(self, settings: MultimodalSettings, **sizes: int) -> None:
        super().__init__(settings, sizes)
        self.settings, d = settings, settings.dim
        basic = [field for field in self.fields if field.kind != "modality"]
        content = [field for field in self.fields if field.kind == "modality"] if settings.modalities != "none" else []
        self.guides = [row for row, field in enumerate(basic) if field.side == "user"]
        self.field_names = [field.name for field in basic] + (["modalities"] if content else [])
        self.modality_names = [field.name for field in content]
        self.pair_names = list(combinations(self.field_names, 2)) if settings.crossing else []
        n = len(self.field_names)

        self.vectors = FieldVectors(basic, d, settings.pooling, settings.init_std)
        self.content = FieldVectors(content, d, settings.pooling, settings.init_std) if content else None
        self.fusion: Fusion | None = None
        if content and settings.modalities == "fused":
            if not self.guides:
                raise InputError(f"fields {list(sizes)}: none is the user's, who is to guide the fusion of modalities")
            self.fusion = Fusion(content, len(self.guides) * d, settings.attention)
        self.within = nn.ModuleList(SelfAttention(d, settings.heads) for _ in range(settings.layers))
        self.crossed = Crossing(n, d, settings.attention, settings.cross_weights) if settings.crossing else None
        read = n * d * (2 if settings.crossing else 1)
        self.output = nn.Linear(read, 1)
        self.first = FieldVectors(basic + content, 1, settings.pooling, std=0.0) if settings.deep else None
        self.deep = perceptron(read, settings.hidden) if settings.deep else None

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights. W_P starts at ½: where attention is even, W_Pᵀp is then Σ_{i<j} e_i·e_j, as in an FM."""
        super().initialise(generator)
        if self.crossed is not None:
            with torch.no_grad():
                self.output.weight[:, self.output.in_features // 2 :] = 0.5
        return self

    def read(self, values: Values) -> Explanation:
        """Eq. 1 and 2: logit = w·x + W_Sᵀs + W_Pᵀp + MLP([s; p]) + b, of s = [s_1; …; s_n] and p = [p_1; …; p_n].

        x are all inputs, the modalities' numbers among them."""
        given = self.standard(values)
        vectors, present, modalities = self._embed(given)
        inner, attention = vectors, []
        for layer in self.within:
            inner, weights = layer(inner, present)
            attention.append(weights)
        both, crossing = [inner], vectors.new_zeros(len(vectors), 0)
        if self.crossed is not None:
            outer, crossing = self.crossed(vectors, present)
            both.append(outer)
        read = torch.cat(both, 1).flatten(1)
        logit = self.output(read)
        if self.first is not None and self.deep is not None:
            logit = logit + self.deep(read) + self.first(given)[0].sum(1)
        return Explanation(logit.squeeze(1), vectors, modalities, torch.stack(attention, 1), crossing)

    def _embed(self, given: Values) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 5 and 6: vectors (B, n, D), present (B, n) and the modalities' weights (B, M).

        Concatenated: [x_1; …; x_M] [V_1; …; V_M] = Σ_m x_m V_m, an absent modality being zeros."""
        vectors, present = self.vectors(given)
        weights = vectors.new_zeros(len(vectors), 0)
        if self.content is None:
            return vectors, present, weights
        content, has = self.content(given)
        if self.fusion is None:
            one = content.sum(1)
        else:
            weights = self.fusion(given, vectors[:, self.guides].flatten(1), has)
            one = (weights[..., None] * content).sum(1)
        return torch.cat([vectors, one[:, None]], 1), torch.cat([present, has.any(1, keepdim=True)], 1), weights

    @torch.no_grad()
    def explain(self, values: Values) -> Explanation:
        """What the model looks at in raw values: the weights of modalities, fields and pairs."""
        return self.read(values)
