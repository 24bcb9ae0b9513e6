"""What TransGRec trains on, and its scores. Split, test and tables are those of `protocols.segments`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.graph import Graph
from reelmill.models.core.rows import integers
from reelmill.models.protocols.segments.data import Interactions
from reelmill.models.protocols.segments.task import SegmentTask
from reelmill.models.transgrec.model import Batch, TransGRec
from reelmill.models.transgrec.settings import TransGRecSettings


class TransGRecTask(SegmentTask):
    """The paper's protocol (§4.1) with its graph: the training edges between users and items."""

    settings: TransGRecSettings

    def __init__(self, data: Interactions, settings: TransGRecSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        items = self.features[: len(self.items)]
        self.graph = Graph.build(items, self.edge_user, self.edge_item, len(data.users))

    def model(self, generator: torch.Generator) -> TransGRec:
        model = TransGRec(self.settings, len(self.data.users), len(self.items), self.data.dim).initialise(generator)
        return model.measured(self.mean, self.scale).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            share, user = self.settings.edge_dropout, self.user[rows]
            graph = self.graph.drop(share, generator) if share else self.graph
            yield Batch(graph, user, self.item[rows], self.negatives.draw(user, self.settings.negatives, generator))

    def validate(self, model: TransGRec) -> dict[str, float]:
        model.settle(self.graph)
        cases = self.split.validation
        if not len(cases):
            return {}
        embedded = model.embed(self.features)
        return self.validated(self.scores(model, cases.candidate_user, embedded, self.validation_place))

    def evaluate(self, model: TransGRec) -> dict[str, Any]:
        model.settle(self.graph)
        cases = self.split.test
        segments, place = np.unique(cases.segment, return_inverse=True)
        embedded = model.embed(self.on_device(segments))
        return self.tables({"transgrec": [self.scores(model, cases.candidate_user, embedded, place)]})

    def scores(self, model: TransGRec, user: np.ndarray, embedded: Tensor, place: np.ndarray) -> np.ndarray:
        """Eq. 18 (T,) of users (T,) and the rows `place` (T,) of v̂ (n, D)."""
        users, rows = integers(user, self.device), integers(place, self.device)
        return (model.final_users[users] * embedded[rows]).sum(-1).cpu().numpy()
