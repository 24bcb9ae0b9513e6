"""DropoutNet: two towers over preferences and content, which learn to reproduce a factorisation while its vectors are
left out now and then. A segment that nobody has seen has content alone.

    û_a = tower_U(U_a),    v̂_i = tower_V([V_i; f_i]),    loss = mean over pairs of (U_a·V_i − û_a·v̂_i)²

Sources of the facts.

- Read in the authors' code: the base model is weighted matrix factorisation, trained first; its rows are standardised
  column by column over those that are not zero, and capped at five deviations; a tower is linear → batch norm (momentum
  0.01, ε 0.001) → tanh → linear, 200 wide on CiteULike; weights from a truncated normal of deviation 0.01, biases 0;
  the target is U_a·V_i as the base model has it; a user's pairs are the 2,500 items of highest target and as many at
  random; in each batch of 100 pairs half of the item inputs are zero, and independently half of the user inputs;
  stochastic gradient descent with momentum 0.9 and rate 5e-3.
- Stated by TransGRec's paper: the system "optimizes the original rating based loss and the new user dropout loss at the
  same time", on the same features.
- Our resolution: D = 128 as TransGRec's; the factorisation by alternating least squares, α 40 (commonly known); users
  have no content; the rate does not fall. As in TransGRec every candidate is treated as new (V_i = 0), also one that
  has likes of others; so is every candidate of the validation. An unknown user is U_a = 0.

Standardised features have length 1 on average; they are multiplied by √dim here, as the preferences have the spread 1.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.dropoutnet import DropoutNetSettings
from reelmill.models.core.standardise import FeatureModel

MOMENTUM = 0.9
START = 0.01
"""Standard deviation of the first weights."""
CAP = 5.0
"""Standardised preferences lie between −CAP and CAP."""


@dataclass(frozen=True)
class Batch:
    """B pairs of a user and an item. Preferences that are left out are zero."""

    users: Tensor
    """(B, D) standardised U."""
    items: Tensor
    """(B, D) standardised V."""
    features: Tensor
    """(B, dim), standardised."""
    target: Tensor
    """(B,) U_a·V_i of the factorisation."""


class DropoutNet(FeatureModel):
    """The two towers, and the preferences of the training's users."""

    preferences: Tensor

    def __init__(self, settings: DropoutNetSettings, users: int, features: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"users": users, "features": features}
        self.user_tower = _tower(settings.dim, settings.hidden, settings.dim)
        self.item_tower = _tower(settings.dim + features, settings.hidden, settings.dim)
        self.register_buffer("preferences", torch.zeros(users, settings.dim))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=START, a=-2 * START, b=2 * START, generator=generator)
                nn.init.zeros_(layer.bias)
        return self

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        if self.settings.optimiser == "sgd":
            return torch.optim.SGD(group, lr=learning_rate, momentum=MOMENTUM)
        return super().optimizer(group, learning_rate)

    def items(self, preferences: Tensor, features: Tensor) -> Tensor:
        """v̂ (n, D) of standardised preferences (n, D) and features (n, dim)."""
        return self.item_tower(torch.cat([preferences, features.shape[1] ** 0.5 * features], 1))

    def embed(self, features: Tensor) -> Tensor:
        """v̂ (n, D) of new items with standardised features (n, dim)."""
        return self.items(features.new_zeros(len(features), self.settings.dim), features)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        made = (self.user_tower(batch.users) * self.items(batch.items, batch.features)).sum(1)
        return {"loss": F.mse_loss(made, batch.target)}


def _tower(width: int, hidden: int, dim: int) -> nn.Sequential:
    norm = nn.BatchNorm1d(hidden, eps=1e-3, momentum=0.01)
    return nn.Sequential(nn.Linear(width, hidden), norm, nn.Tanh(), nn.Linear(hidden, dim))


def standardised(rows: Tensor) -> Tensor:
    """Rows (n, D) less their mean and divided by their deviation, column by column, over those that are not zero, and
    capped; zero rows stay zero."""
    there = rows.any(1)
    centred = rows[there] - rows[there].mean(0)
    deviation = centred.square().mean(0).sqrt()
    out = torch.zeros_like(rows)
    out[there] = (centred / torch.where(deviation > 0, deviation, 1)).clamp(-CAP, CAP)
    return out
