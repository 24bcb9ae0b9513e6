"""What DropoutNet trains on, and its scores, under TransGRec's protocol."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.dropoutnet import DropoutNetSettings
from reelmill.models.baselines.dropoutnet.model import Batch, DropoutNet, standardised
from reelmill.models.baselines.segments.task import ScoresTask
from reelmill.models.core import als, sparse
from reelmill.models.core.rows import integers
from reelmill.models.data.cases import Cases
from reelmill.models.data.vectors import CHUNK
from reelmill.models.protocols.segments.data import Interactions

USERS_AT_ONCE = 1000
"""Users whose pairs are drawn and mixed together, as in the authors' code."""
TARGETS_AT_ONCE = 1 << 27
"""At most so many targets are computed at a time."""


class DropoutNetTask(ScoresTask):
    """The factorisation of the training's likes, and pairs whose predicted preference the network is to reproduce."""

    name = "dropoutnet"
    settings: DropoutNetSettings

    def __init__(self, data: Interactions, settings: DropoutNetSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        likes = sparse.of_pairs(self.edge_user, self.edge_item, None, len(data.users), len(self.items))
        generator = torch.Generator().manual_seed(settings.seed)
        self.factors = als.factorise(
            likes, settings.dim, settings.alpha, settings.wmf_l2, settings.sweeps, generator
        )  # fmt: skip
        self.preferences = als.Factors(standardised(self.factors.users), standardised(self.factors.items))
        self.trained = torch.unique(self.edge_user)

    def model(self, generator: torch.Generator) -> DropoutNet:
        model = DropoutNet(self.settings, len(self.data.users), self.data.dim).initialise(generator)
        model.preferences.copy_(self.preferences.users)
        return model.measured(self.mean, self.scale).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """A last batch of one pair is left out: batch norm needs two."""
        order = torch.randperm(len(self.trained), generator=generator, device=self.device)
        some = max(1, min(USERS_AT_ONCE, TARGETS_AT_ONCE // len(self.items)))
        for users in self.trained[order].split(some):
            user, item, target = self.pairs(users, generator)
            mixed = torch.randperm(len(user), generator=generator, device=self.device)
            for rows in mixed.split(self.settings.batch):
                if len(rows) > 1:
                    yield self._batch(user[rows], item[rows], target[rows], generator)

    def pairs(self, users: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Users, items and targets (P,) of an epoch's pairs of users (n,): the items of highest target, then as many
        drawn evenly."""
        targets = self.factors.users[users] @ self.factors.items.T
        count = max(1, min(self.settings.top, len(self.items) // 2))
        drawn = torch.randint(len(self.items), (len(users), count), generator=generator, device=self.device)
        items = torch.cat([targets.topk(count, 1).indices, drawn], 1)
        return users.repeat_interleave(2 * count), items.flatten(), targets.gather(1, items).flatten()

    def _batch(self, user: Tensor, item: Tensor, target: Tensor, generator: torch.Generator) -> Batch:
        users, items = self.preferences.users[user], self.preferences.items[item]
        out = int(self.settings.dropout * len(user))
        for rows in (items, users):
            rows[torch.randperm(len(rows), generator=generator, device=self.device)[:out]] = 0
        return Batch(users, items, self.features[item], target)

    @torch.no_grad()
    def scores(self, model: DropoutNet, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        items = torch.cat([model.embed(some) for some in features.split(CHUNK)])
        users = torch.cat([model.user_tower(some) for some in model.preferences.split(CHUNK)])
        who, rows = integers(cases.candidate_user, self.device), integers(place, self.device)
        parts = zip(who.split(CHUNK), rows.split(CHUNK), strict=True)
        return torch.cat([(users[a] * items[i]).sum(1) for a, i in parts]).cpu().numpy()
