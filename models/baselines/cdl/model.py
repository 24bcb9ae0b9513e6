"""Comparative deep learning, and Laplacian regularisation on top of it. The model knows no protocol.

    x_i = W₂ ReLU(W₁ f_i + b₁) + b₂
    d(a, i) = Σ_k m_k (w_ak − x_ik)²,    m = softplus(µ), 1 at the start
    loss = mean over (a, i, j) of −ln σ(d(a, j) − d(a, i)) + λ |w_a|²    (a likes i, and not j)
    LapReg: + γ · mean over the training edges (a, i) of |w_a / √d_a − x_i / √d_i|²,    d the degrees in the graph

Sources of the facts.

- Stated in the caption of CDL's figure 2, the part of the paper that could be read: three sub-networks with 1024
  outputs, of which the two for images are the same; two networks for the distances; the difference of the distances
  goes into a cross entropy.
- Commonly known, not read: the user's input is a vector of tags, and the images' network is a fine-tuned AlexNet.
- Stated by TransGRec's paper: CDL "learns the free user content embedding, and the item content embedding in a low
  latent space"; LapReg takes CDL as its prediction function, and "the Laplacian regularization is performed in the
  user-item bipartite graph". Stated by JIFR's paper: CDL is visual, "without any collaborative filtering".
- Our resolution: w_a is free and x_i has no id; the layers' widths; the weights m of the distance; which vectors the
  Laplacian term binds, that it is normalised, and that it is a mean, so that γ does not depend on the graph's size.

Standardised features have length 1 on average and are multiplied by √dim here. W₁ starts with variance 2 / (columns)
(He), and W₂ so that x has the spread of w. An unknown user is the mean of all w_a.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.cdl import ComparativeSettings, LaplacianSettings
from reelmill.models.core.rows import pick
from reelmill.models.core.standardise import FeatureModel

ONE = 0.5413248546129181
"""softplus(ONE) = 1."""


@dataclass(frozen=True)
class Batch:
    """B positives (a, i), each with S negatives j."""

    user: Tensor
    """(B,)."""
    features: Tensor
    """(B, 1 + S, dim), standardised, the positive first."""
    degrees: Tensor | None = None
    """(B, 2) degrees of a and i in the training graph, for LapReg."""


class Comparative(FeatureModel):
    """CDL, and LapReg if its settings are."""

    def __init__(self, settings: ComparativeSettings, users: int, features: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"users": users, "features": features}
        self.users = nn.Parameter(torch.empty(users, settings.dim))
        self.first = nn.Linear(features, settings.hidden)
        self.second = nn.Linear(settings.hidden, settings.dim)
        self.weights = nn.Parameter(torch.empty(settings.dim)) if settings.metric == "learned" else None

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        std = self.settings.init_std
        with torch.no_grad():
            self.users.normal_(0, std, generator=generator)
            self.first.weight.normal_(0, (2 / self.first.in_features) ** 0.5, generator=generator)
            self.second.weight.normal_(0, std / self.second.in_features**0.5, generator=generator)
            self.first.bias.zero_()
            self.second.bias.zero_()
            if self.weights is not None:
                self.weights.fill_(ONE)
        return self

    def embed(self, features: Tensor) -> Tensor:
        """x (…, D) of standardised features (…, dim)."""
        return self.second(F.relu(self.first(self.first.in_features**0.5 * features)))

    def distance(self, users: Tensor, items: Tensor) -> Tensor:
        """d (…) of w (…, D) and x (…, D), which broadcast."""
        square = (users - items).square()
        return square.sum(-1) if self.weights is None else square @ F.softplus(self.weights)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        user, items = pick(self.users, batch.user), self.embed(batch.features)
        distance = self.distance(user[:, None], items)
        comparison = F.softplus(distance[:, :1] - distance[:, 1:]).mean()
        l2 = user.square().sum(1).mean()
        terms = {"loss": comparison + self.settings.l2 * l2, "comparison": comparison, "l2": l2}
        if isinstance(self.settings, LaplacianSettings):
            terms["laplacian"] = self._laplacian(user, items[:, 0], batch.degrees)
            terms["loss"] = terms["loss"] + self.settings.gamma * terms["laplacian"]
        return terms

    def _laplacian(self, users: Tensor, items: Tensor, degrees: Tensor | None) -> Tensor:
        """Mean over the edges of the batch, each of which is in one batch of an epoch."""
        assert isinstance(self.settings, LaplacianSettings)
        if self.settings.laplacian == "normalised":
            assert degrees is not None
            root = degrees.to(users.dtype).sqrt()
            users, items = users / root[:, :1], items / root[:, 1:]
        return (users - items).square().sum(1).mean()
