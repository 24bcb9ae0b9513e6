"""Recommendations of FPMC: the next videos, by all that the user has watched and by what they watched last.

Like the Dynamic RNN it has no parameters of single users: it reads their watches from the tables, and recommends only
the videos that it was trained on.
"""

from typing import cast

import torch

from reelmill.models.baselines.fpmc.model import FPMC
from reelmill.models.core.advice import Question
from reelmill.models.protocols.next_videos.recommend import VideosAdviser

NOTHING = "no known watch; the biases b of the videos decide, which is what most users watch"


class FPMCAdviser(VideosAdviser):
    """Ranks videos by x̂."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(FPMC, question.fitted.model)
        self.known = bool(self.past.known)
        self.how = f"{len(self.past.member)} watched videos" if self.known else NOTHING
        self.scores = self.model.score(self.past)[0]

    @torch.no_grad()
    def why(self, row: int) -> dict[str, float]:
        """The terms of x̂: by all watched videos, by the last basket, and b."""
        terms = self.model.user(self.past)[0] * self.model.item[row]
        liked, last = terms.split(self.model.settings.dim)
        return {"taste": float(liked.sum()), "follows": float(last.sum()), "popularity": float(self.model.bias[row])}
