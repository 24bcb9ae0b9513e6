"""Standardised features f → (f − mean) / scale, measured on the rows that are trained on and kept in the checkpoint."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.base import Model
from reelmill.models.data.spread import Spread
from reelmill.storage.errors import InputError

MODES = ("centre", "scale", "none")
"""Values of a setting `standardise`: (f − mean) / rms, f / rms, or f as it is."""


def scaling(spread: Spread, mode: str, what: str, where: str) -> tuple[Tensor, Tensor]:
    """What one of the `MODES` subtracts, (dim,) float32, and divides by, () float32: `centre` the mean of the rows and
    their root mean square distance from it; `scale` zero and the root mean square of their lengths; `none` zero and 1.

    Raises InputError if all rows are one vector: `what` and `where` name them, such as "features of c3d-fc6-…" and "the
    training videos"."""
    mean, scale = spread.mean, spread.rms
    if not scale > 0:
        raise InputError(f"{what} are constant over {where}; extract them anew")
    if mode != "centre":
        mean, scale = np.zeros_like(mean), float(np.hypot(scale, np.linalg.norm(mean)))
    return torch.from_numpy(mean).float(), torch.tensor(1.0 if mode == "none" else scale, dtype=torch.float32)


class FeatureModel(Model):
    """A model that reads the rows of one feature store and standardises them itself."""

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(()))

    def measured(self, mean: Tensor, scale: Tensor) -> Self:
        """Keep the mean (features,) and the scale ()."""
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale)
        return self

    def standardise(self, features: Tensor) -> Tensor:
        """Rows (…, features) as the store has them → (f − mean) / scale."""
        return (features - self.feature_mean) / self.feature_scale
