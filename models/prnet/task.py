"""What PR-Net scores, and why. Split, windows and tests are those of `protocols.highlights`."""

from typing import Any

import numpy as np
import torch

from reelmill.models.data.cases import Cases
from reelmill.models.prnet.model import PRNet, Reasons
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.protocols.highlights.query import Query
from reelmill.models.protocols.highlights.task import HighlightTask


class PRNetTask(HighlightTask):
    """The paper's protocol."""

    settings: PRNetSettings

    def model(self, generator: torch.Generator) -> PRNet:
        model = PRNet(self.settings, self.data.dim).initialise(generator)
        return model.measured(self.mean, self.scale).to(self.device)

    def validate(self, model: PRNet) -> dict[str, float]:
        return self.validated(self.scores(model, self.validation)) if len(self.validation) else {}

    def evaluate(self, model: PRNet) -> dict[str, Any]:
        return self.tables({"prnet": [self.scores(model, self.test)]})

    def scores(self, model: PRNet, cases: Cases) -> np.ndarray:
        """Scores (T,) of the candidates of cases, each video encoded as a whole."""
        return self.judged(cases, lambda query: model.score(query)[0])

    def reasons(self, model: PRNet, case: int) -> tuple[Query, Reasons]:
        """The query of a test case (B = 1), and the reasons for the scores of its video's steps."""
        user, video = self.test.user[[case]], self.test.video[[case]]
        query = self.query(user, video, self.data.steps.start[video], np.diff(self.data.steps.start)[video])
        return query, model.score(query)[1]
