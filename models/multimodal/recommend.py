"""Recommendations of the multimodal click-through model: items by the probability of a click, with the weights of the
modalities and of the pairs of fields as reasons."""

from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor

from reelmill.models.multimodal.model import Explanation, Multimodal
from reelmill.models.protocols.clicks.recommend import FieldsAdviser, strongest_pairs


class MultimodalAdviser(FieldsAdviser):
    """Ranks items by ŷ."""

    def _reasons(self, values: dict[str, Tensor]) -> list[dict[str, Any]]:
        """For each example the weights of the modalities, where they are fused, and the strongest pairs of fields."""
        model = cast(Multimodal, self.model)
        read = model.explain(values)
        pairs = _pairs(model, read)
        if not read.modalities.shape[1]:
            return [{"modalities": {}, **pair} for pair in pairs]
        weights = [dict(zip(model.modality_names, row, strict=True)) for row in read.modalities.tolist()]
        return [{"modalities": weight, **pair} for weight, pair in zip(weights, pairs, strict=True)]


def _pairs(model: Multimodal, read: Explanation) -> list[dict[str, Any]]:
    """The strongest pairs of each example: by M_ij where pairs are crossed, by self-attention where they are not."""
    if model.pair_names:
        return strongest_pairs(model.pair_names, read.crossing, "weight")
    both = read.attention.mean((1, 2))
    both = both + both.mT  # how much the two attend to each other
    row, column = torch.triu_indices(both.shape[1], both.shape[1], 1)
    return strongest_pairs(list(combinations(model.field_names, 2)), both[:, row, column], "attention")
