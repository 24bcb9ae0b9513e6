"""Recommendations of CDL and LapReg: the segments, or whole videos, that are nearest to the user."""

from typing import cast

from torch import Tensor

from reelmill.models.baselines.cdl.model import Comparative
from reelmill.models.core.advice import Question
from reelmill.models.protocols.segments.recommend import SegmentAdviser


class ComparativeAdviser(SegmentAdviser):
    """Ranks by −d(a, i). An unknown user gets the mean of the training's users."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(Comparative, question.fitted.model)
        users = question.fitted.identities["users"]
        self.known = question.user in users
        if self.known:
            self.user = self.model.users[question.fitted.row("users", str(question.user))]
            self.how = "their own embedding"
        else:
            self.user = self.model.users.mean(0)
            self.how = f"{question.unknown_user(users)}; the mean of their embeddings is used"

    def scores(self, features: Tensor) -> Tensor:
        return -self.model.distance(self.user, self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """x (n, D)."""
        return self.model.embed(features)
