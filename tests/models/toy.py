"""A recommender in a few lines: a linear model over fields, which shares everything else. See `test_toy`."""

from functools import partial

import torch
from torch import nn

from reelmill.models.core.recommender import Recommender, SharedWorld
from reelmill.models.protocols.clicks.data import ROLES, load_clicks
from reelmill.models.protocols.clicks.fields import FieldModel, FieldVectors, Reading, Values
from reelmill.models.protocols.clicks.recommend import FieldsAdviser
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.models.protocols.clicks.task import ClickTask


class Toy(FieldModel):
    """ŷ = σ(b + w·x)."""

    def __init__(self, settings: FieldSettings, **sizes: int) -> None:
        super().__init__(settings, sizes)
        self.vectors = FieldVectors(self.fields, 1, settings.pooling, settings.init_std)
        self.bias = nn.Parameter(torch.zeros(()))

    def read(self, values: Values) -> Reading:
        vectors, _ = self.vectors(self.standard(values))
        return Reading(self.bias + vectors.sum((1, 2)), vectors)


RECOMMENDER = Recommender(
    name="toy",
    paper="nobody",
    settings=FieldSettings,
    roles=dict.fromkeys(ROLES, ""),
    optional=frozenset(ROLES),
    load=load_clicks,
    task=partial(ClickTask, "toy", Toy),
    model=Toy,
    adviser=FieldsAdviser,
    world=SharedWorld(
        of="multimodal",
        options={"epochs": 5, "learning_rate": 0.02, "split": "time", "test_share": 0.3},
        roles={"picture": "picture", "sound": "sound"},
    ),
    version=1,
)
