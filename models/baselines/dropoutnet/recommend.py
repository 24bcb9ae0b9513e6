"""Recommendations of DropoutNet: every segment, or whole video, by its content alone."""

from typing import cast

import torch
from torch import Tensor

from reelmill.models.baselines.dropoutnet.model import DropoutNet
from reelmill.models.core.advice import Question
from reelmill.models.protocols.segments.recommend import SegmentAdviser


class DropoutNetAdviser(SegmentAdviser):
    """Ranks by û·v̂. An unknown user has no preferences, which the network has learnt to do without."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(DropoutNet, question.fitted.model)
        users = question.fitted.identities["users"]
        self.known = question.user in users
        if self.known:
            preferences = self.model.preferences[question.fitted.row("users", str(question.user))]
            self.how = "their preferences, factorised from likes"
        else:
            preferences = torch.zeros(self.model.settings.dim)
            self.how = f"{question.unknown_user(users)}; the ranking is that without any preference"
        with torch.no_grad():
            self.user = self.model.user_tower(preferences[None])[0]

    def scores(self, features: Tensor) -> Tensor:
        return self.embed(features) @ self.user

    def embed(self, features: Tensor) -> Tensor:
        """v̂ (n, D)."""
        return self.model.embed(features)
