"""Recommendations of SVM-D, by the segments that a user likes now."""

from typing import cast

import torch
from torch import Tensor

from reelmill.models.baselines.svmd.model import RankingSVM, described
from reelmill.models.core.advice import Question
from reelmill.models.protocols.segments.recommend import LikesAdviser


class SVMDAdviser(LikesAdviser):
    """Ranks segments by w·φ(s, a). The nearest liked segments are named by the very cosines that φ is made of."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(RankingSVM, question.fitted.model)

    def scores(self, features: Tensor) -> Tensor:
        there = torch.ones(1, len(self.history), dtype=torch.bool)
        return self.model.score(described(features[None], self.history[None], there, self.model.settings.neighbours))[0]
