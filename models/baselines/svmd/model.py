"""SVM-D: a linear ranking SVM on how near a segment is to what its user likes.

Sources of the facts.

- Stated by TransGRec's paper: a system of this name, with a citation of Sun et al. (ECCV 2014), and among the
  "embedding based models". The latter cannot be met: an SVM on distances has no embedding.
- Commonly known, not read: the name is that of the second model of PHD-GIFs (2018), a ranking SVM on the distances
  between a segment and the user's history.
- Our resolution: φ(s, a) are the 20 largest cosines between s and the liked training segments of a in other videos, in
  falling order and with zeros where there are fewer, their mean over all liked segments, and their number: 22 numbers.
  Features are centred, as for the floor `content`. Pairs are of one video:

      minimise over w:  mean over pairs of max(0, 1 − w·(φ⁺ − φ⁻)) + ½ |w|² / C,    C of 10⁻³ … 10³ by validation.

  scikit-learn's `LinearSVC` is the oracle of the tests; its C is ours divided by the number of pairs.

The number of liked segments is equal for both of a pair, so that its weight stays 0. Without a like elsewhere φ is 0
and all segments are equal.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.svmd import SVMDSettings
from reelmill.models.core.standardise import FeatureModel

COSTS = tuple(10.0**power for power in range(-3, 4))
"""C that a fit tries where none is set."""


def described(segments: Tensor, liked: Tensor, there: Tensor, neighbours: int) -> Tensor:
    """φ (n, S, neighbours + 2) of features (n, S, dim), with liked ones (n, L, dim) of which (n, L) are there."""
    cosine = torch.bmm(F.normalize(segments, dim=-1), F.normalize(liked, dim=-1).transpose(1, 2))
    cosine = cosine * there[:, None]
    largest = cosine.masked_fill(~there[:, None], -torch.inf).topk(min(neighbours, liked.shape[1])).values
    largest = F.pad(largest.masked_fill(largest == -torch.inf, 0), (0, neighbours - largest.shape[2]))
    count = there.sum(1)[:, None].expand(len(there), segments.shape[1])
    mean = cosine.sum(2) / count.clamp_min(1)
    return torch.cat([largest, mean[..., None], count[..., None].to(mean.dtype)], 2)


class RankingSVM(FeatureModel):
    """score(s, a) = w·φ(s, a), with one w for each C, of which `chosen` is the one that scores."""

    chosen: Tensor

    def __init__(self, settings: SVMDSettings, features: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"features": features}
        self.costs = (settings.c,) if settings.c else COSTS
        self.w = nn.Parameter(torch.zeros(len(self.costs), settings.neighbours + 2))
        self.register_buffer("chosen", torch.tensor(len(self.costs) // 2))

    def loss(self, batch: Tensor, turn: int = 0) -> dict[str, Tensor]:
        """Of differences φ⁺ − φ⁻ (B, S, numbers): the sum over all C, whose minima do not depend on one another."""
        hinge = F.relu(1 - batch @ self.w.T).mean((0, 1))
        cost = torch.tensor(self.costs, dtype=self.w.dtype, device=self.w.device)
        return {"loss": (hinge + 0.5 * self.w.square().sum(1) / cost).sum(), "hinge": hinge[self.chosen]}

    @torch.no_grad()
    def score(self, numbers: Tensor) -> Tensor:
        """(…) of φ (…, numbers)."""
        return numbers @ self.w[self.chosen]
