"""Video2GIF and PHD-GIFs: a perceptron that ranks the segments of a video, without a user or with the mean of what the
user liked elsewhere.

Sources of the facts.

- Read in the authors' code of Video2GIF: C3D fc6 after ReLU (4096) → 512 → 128 → 1, ReLU, linear output. There the
  windows of a segment and their mirror images are scored and the scores averaged; our resolution is one vector a
  segment, as the store has it.
- Stated by TransGRec's paper: hidden sizes 512 and 128 for both systems; a label covers more than half of a segment.
- Stated by PR-Net's paper: PHD-GIFs "directly concatenates the average history feature".
- Stated in the abstract of Video2GIF: a positive segment ranks above a negative one of its video, by a Huber loss.
- Commonly known, not read: δ = 1.5; stochastic gradient descent with momentum 0.9, rate 1e-3, 50 pairs a batch, weight
  decay 1e-3, dropout ½ after the hidden layers; a smaller δ for unpopular GIFs, of which PHD² does not tell.
- Our resolution: pairs are a user's positive and a segment of the same video that nobody marked (Video2GIF), or that
  this user did not mark (PHD-GIFs). The history is the mean of the liked training segments *of other videos*, or the
  network would read the label; without any it is zero. The public weights of Video2GIF are not used: this is a fit.

Standardised features have length 1 on average. They are multiplied by √dim here, so that each number has the spread 1
for which the rates above were made; weights start with variance 2 / (columns), biases at zero (He).
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.segments.settings import PerceptronSettings
from reelmill.models.core.standardise import FeatureModel

MOMENTUM = 0.9


@dataclass(frozen=True)
class Batch:
    """B positives, each with S other segments of its video. Features are standardised."""

    features: Tensor
    """(B, 1 + S, dim), the positive first."""
    history: Tensor | None
    """(B, dim), or None for Video2GIF."""
    kept: tuple[Tensor, Tensor]
    """Dropout: (B, 1 + S, width) of either hidden layer, 0 or 1 / (1 − share)."""


class Perceptron(FeatureModel):
    """h(s, a) = w·ReLU(W₂ ReLU(W₁ [s; history of a] + b₁) + b₂) + b. Video2GIF has no second half of W₁."""

    def __init__(self, settings: PerceptronSettings, features: int, history: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"features": features, "history": history}
        self.segment = nn.Linear(features, settings.hidden_1)
        self.past = nn.Linear(features, settings.hidden_1, bias=False) if history else None
        self.middle = nn.Linear(settings.hidden_1, settings.hidden_2)
        self.out = nn.Linear(settings.hidden_2, 1)

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        columns = self.segment.in_features * (1 if self.past is None else 2)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    size = columns if layer in (self.segment, self.past) else layer.in_features
                    layer.weight.normal_(0, (2 / size) ** 0.5, generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
        return self

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        if self.settings.optimiser == "sgd":
            return torch.optim.SGD(group, lr=learning_rate, momentum=MOMENTUM)
        return super().optimizer(group, learning_rate)

    def forward(self, features: Tensor, history: Tensor | None, kept: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """h (…) of standardised features (…, dim) and histories that broadcast with them."""
        scale = self.segment.in_features**0.5
        hidden = self.segment(scale * features)
        if self.past is not None:
            hidden = hidden + self.past(scale * history)
        hidden = F.relu(hidden) if kept is None else F.relu(hidden) * kept[0]
        hidden = F.relu(self.middle(hidden))
        return self.out(hidden if kept is None else hidden * kept[1]).squeeze(-1)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Mean over the pairs of 0, ½ u² or δ u − ½ δ² for u = 1 − h(s⁺) + h(s⁻) ≤ 0, ≤ δ and beyond; plus
        ½ λ |W|²."""
        history = None if batch.history is None else batch.history[:, None]
        h = self(batch.features, history, batch.kept)
        u = F.relu(1 - h[:, :1] + h[:, 1:])
        huber = F.huber_loss(u, torch.zeros_like(u), delta=self.settings.delta)
        l2 = sum((p.square().sum() for name, p in self.named_parameters() if name.endswith("weight")), h.new_zeros(()))
        return {"loss": huber + 0.5 * self.settings.l2 * l2, "huber": huber, "l2": l2}
