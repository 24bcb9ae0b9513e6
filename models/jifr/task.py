"""What JIFR trains on, and its scores. Split and tests are those of `protocols.items_and_frames`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from reelmill.models.core.rows import integers
from reelmill.models.data.cases import Cases
from reelmill.models.jifr.model import JIFR, Batch
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.protocols.items_and_frames.task import ItemsAndFramesTask, chunks


class JIFRTask(ItemsAndFramesTask):
    """The paper's protocol (§4)."""

    settings: JIFRSettings

    def model(self, generator: torch.Generator) -> JIFR:
        model = JIFR(self.settings, self.m, self.n, self.data.dim).initialise(generator)
        return model.measured(self.mean, self.scale).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            user, positive = self.user[rows], self.item[rows]
            negative = self.negatives.draw(user, self.settings.negatives, generator)
            item, place = torch.unique(torch.cat([positive[:, None], negative], 1), return_inverse=True)
            yield Batch(user, item, place[:, 0], place[:, 1:], self.frames_of(item))

    def validate(self, model: JIFR) -> dict[str, float]:
        self._settle(model)
        return self.validated(JIFRScores(self, model))

    def evaluate(self, model: JIFR) -> dict[str, Any]:
        self._settle(model)
        return self.tables({"jifr": JIFRScores(self, model)})

    def _settle(self, model: JIFR) -> None:
        for items in chunks(np.arange(self.n)):
            rows = integers(items, self.device)
            model.settle(rows, self.frames_of(rows))


class JIFRScores:
    """The rankings of a settled model."""

    def __init__(self, task: JIFRTask, model: JIFR) -> None:
        self.task, self.model = task, model

    def items(self, users: np.ndarray) -> np.ndarray:
        """Scores (m, N) of all items for users (m,): eq. 8."""
        return torch.cat(list(self.model.rank(integers(users, self.task.device)))).cpu().numpy()

    def frames(self, cases: Cases) -> np.ndarray:
        """Scores (T,) of the candidates of frame cases: eq. 4."""
        task, found = self.task, []
        for some in chunks(np.arange(len(cases))):
            vectors = np.concatenate(list(task.data.vectors(task.split.items[cases.video[some]])))
            user = np.repeat(cases.user[some], np.diff(cases.start)[some])
            scores = self.model.score_frames(integers(user, task.device), torch.from_numpy(vectors).to(task.device))
            found.append(scores.cpu().numpy())
        return np.concatenate(found)
