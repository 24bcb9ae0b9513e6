"""Frame sets of items, of any size, as tensors."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.core.rows import pick


@dataclass(frozen=True)
class Frames:
    """Frame sets S_i of n items: those of the i-th are features[start[i]] … features[start[i + 1] − 1], or none."""

    features: Tensor
    """(L, dim), standardised."""
    start: Tensor
    """(n + 1,) int64."""

    @cached_property
    def count(self) -> Tensor:
        """|S_i|, (n,)."""
        return self.start.diff()

    @cached_property
    def owner(self) -> Tensor:
        """(L,) for each frame the place of its item."""
        return torch.repeat_interleave(self.count, output_size=len(self.features))

    def of(self, items: Tensor) -> "Frames":
        """The frame sets of items (m,), in their order."""
        count = self.count[items]
        start = F.pad(count.cumsum(0), (1, 0))
        place = torch.repeat_interleave(count)
        frame = torch.arange(len(place), device=place.device) - start[place] + self.start[items][place]
        return Frames(self.features[frame], start)

    def sum(self, values: Tensor) -> Tensor:
        """Σ over each item's frames of values (L, D), zero where there are none: (n, D)."""
        each = torch.arange(len(values), device=values.device)
        return F.embedding_bag(each, values, self.start, mode="sum", include_last_offset=True)

    def softmax(self, scores: Tensor) -> Tensor:
        """Soft-max of scores (L, 1) over each item's own frames: (L, 1)."""
        highest = scores.new_zeros(len(self.count)).scatter_reduce(
            0, self.owner, scores.detach().squeeze(-1), "amax", include_self=False
        )
        power = torch.exp(scores - highest[self.owner, None])
        return power / pick(self.sum(power), self.owner)
