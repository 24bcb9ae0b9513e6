"""Recommendations of TransGRec: segments by eq. 18, of new videos like of old ones, since all go through T. A run on a
store of whole videos recommends these."""

from typing import cast

from torch import Tensor

from reelmill.models.core.advice import Question
from reelmill.models.protocols.segments.recommend import SegmentAdviser
from reelmill.models.transgrec.model import TransGRec


class TransGRecAdviser(SegmentAdviser):
    """Ranks segments by u·v̂. An unknown user gets the mean of the training's users, which ranks by what they like on
    average."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(TransGRec, question.fitted.model)
        users = question.fitted.identities["users"]
        self.known = question.user in users
        if self.known:
            self.u = self.model.final_users[question.fitted.row("users", str(question.user))]
            self.how = "their own embedding, from the training graph"
        else:
            self.u = self.model.final_users.mean(0)
            self.how = (
                f"{question.unknown_user(users)}; the mean of their embeddings is used: what they like on average"
            )

    def scores(self, features: Tensor) -> Tensor:
        return (self.u * self.embed(features)).sum(-1)

    def embed(self, features: Tensor) -> Tensor:
        """v̂ (n, D)."""
        return self.model.embed(features)
