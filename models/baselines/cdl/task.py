"""What CDL and LapReg train on, and their scores, under TransGRec's protocol."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.cdl import CDLSettings, LapRegSettings
from reelmill.models.baselines.cdl.model import Batch, Comparative
from reelmill.models.baselines.segments.task import ScoresTask
from reelmill.models.core.rows import integers
from reelmill.models.data.cases import Cases
from reelmill.models.data.vectors import CHUNK


class CDLTask(ScoresTask):
    """Negatives are segments of all training videos, except the user's own."""

    name = "cdl"
    settings: CDLSettings | LapRegSettings

    def model(self, generator: torch.Generator) -> Comparative:
        model = Comparative(self.settings, len(self.data.users), self.data.dim).initialise(generator)
        return model.measured(self.mean, self.scale).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            user, positive = self.user[rows], self.item[rows]
            negative = self.negatives.draw(user, self.settings.negatives, generator)
            items = torch.cat([positive[:, None], negative], 1)
            yield Batch(user, self.features[items], self.degrees(user, positive))

    def degrees(self, user: Tensor, item: Tensor) -> Tensor | None:
        """(B, 2) degrees of users and items (B,) in the training graph, where the model asks for them."""
        return None

    @torch.no_grad()
    def scores(self, model: Comparative, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        items = torch.cat([model.embed(some) for some in features.split(CHUNK)])
        users, rows = integers(cases.candidate_user, self.device), integers(place, self.device)
        parts = zip(users.split(CHUNK), rows.split(CHUNK), strict=True)
        found = [-model.distance(model.users[who], items[some]) for who, some in parts]
        return torch.cat(found).cpu().numpy()


class LapRegTask(CDLTask):
    """The same, with the degrees of the graph."""

    name = "lapreg"

    def degrees(self, user: Tensor, item: Tensor) -> Tensor:
        of_user, of_item = (torch.bincount(edges) for edges in (self.edge_user, self.edge_item))
        return torch.stack([of_user[user], of_item[item]], 1)
