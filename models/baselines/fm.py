"""Factorisation machine (Rendle, ICDM 2010) and DeepFM (Guo et al., IJCAI 2017): floors for the models over fields.

They see the fields that the multimodal model sees, each modality as one field of its own. Interactions are between
fields, not between the codes of one field: a film's genres are one vector, as in RecBole, whose defaults these are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.protocols.clicks.data import ROLES, load_clicks
from reelmill.models.protocols.clicks.fields import FieldModel, FieldVectors, Reading, Values, perceptron
from reelmill.models.protocols.clicks.settings import FieldSettings, widths_of


@dataclass(frozen=True, kw_only=True)
class FMSettings(FieldSettings):
    """Defaults of RecBole: 10 dimensions, Adam 1e-3, batch 2048."""

    dim: int = 10
    """D, of every field."""
    init_std: float = 0.1
    """Of the field vectors. From 0.01 the pairs, products of two, hardly move at first: on half of MovieLens-1M (one
    seed) validation AUC after 25 epochs is .878 from 0.1, .875 from 0.01."""


@dataclass(frozen=True, kw_only=True)
class DeepFMSettings(FieldSettings):
    """Defaults of RecBole, without its dropout of 0.2: that would draw from torch's global generator."""

    dim: int = 10
    """D, of every field."""
    hidden: str = "128-128-128"
    """Widths of the perceptron's hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        widths_of(self.hidden)


class FM(FieldModel):
    """ŷ = σ(b + w·x + Σ_{i<j} v_i·v_j)."""

    def __init__(self, settings: FieldSettings, **sizes: int) -> None:
        super().__init__(settings, sizes)
        self.settings = settings
        self.vectors = FieldVectors(self.fields, settings.dim, settings.pooling, settings.init_std, linear=True)
        self.bias = nn.Parameter(torch.zeros(()))

    def read(self, values: Values) -> Reading:
        """b + w·x, where a set of codes has the mean (or sum) of their w, plus the pairs."""
        found, _ = self.vectors(self.standard(values))
        vectors, linear = found.split([self.settings.dim, 1], 2)
        return Reading(self.bias + linear.sum((1, 2)) + pairs(vectors), vectors)


class DeepFM(FM):
    """FM plus a perceptron that reads the same vectors (B, n·D)."""

    def __init__(self, settings: DeepFMSettings, **sizes: int) -> None:
        super().__init__(settings, **sizes)
        self.deep = perceptron(len(self.fields) * settings.dim, settings.hidden)

    def read(self, values: Values) -> Reading:
        """The logit of FM plus MLP([v_1; …; v_n])."""
        wide = super().read(values)
        return Reading(wide.logit + self.deep(wide.vectors.flatten(1)).squeeze(1), wide.vectors)


def pairs(vectors: Tensor) -> Tensor:
    """Σ_{i<j} v_i·v_j of (B, n, D), in n steps instead of n²: ½ Σ_d ((Σ_i v_id)² − Σ_i v_id²). (B,)."""
    total = vectors.sum(1)
    return 0.5 * ((total * total).sum(1) - (vectors * vectors).sum((1, 2)))


def _recommender(
    name: str, paper: str, settings: type[FieldSettings], model: Callable[..., FieldModel], world: dict[str, Any]
) -> Recommender:
    """A model over fields: data, split and tests of the multimodal model, and its modalities, which are left out unless
    stores are named."""
    return Recommender(
        name=name,
        paper=paper,
        settings=settings,
        roles=dict.fromkeys(ROLES, ""),
        optional=frozenset(ROLES),
        reads_attributes=True,
        load=load_clicks,
        task=partial(lazy("reelmill.models.protocols.clicks.task:ClickTask"), name, model),
        model=model,
        adviser=lazy("reelmill.models.protocols.clicks.recommend:FieldsAdviser"),
        world=SharedWorld(of="multimodal", options=world),
        version=2,
    )


_WORLD = {
    "dim": 8, "init_std": 0.1, "l2": 1e-3, "batch": 512, "learning_rate": 1e-2, "epochs": 25, "patience": 4,
    "split": "time", "test_share": 0.3,
}  # fmt: skip
FM_RECOMMENDER = _recommender("fm", "Rendle, Factorization Machines, ICDM 2010", FMSettings, FM, _WORLD)
DEEPFM_RECOMMENDER = _recommender(
    "deepfm",
    "Guo et al., DeepFM: A Factorization-Machine based Neural Network for CTR Prediction, IJCAI 2017",
    DeepFMSettings,
    DeepFM,
    {**_WORLD, "hidden": "16"},
)
