"""Recommendations of Video2GIF, the same for everybody, and of PHD-GIFs, by what a user likes now."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.video2gif.model import Perceptron
from reelmill.models.core.advice import Question, Scored
from reelmill.models.protocols.segments.recommend import LikesAdviser, SegmentAdviser


class Video2GIFAdviser(SegmentAdviser):
    """Ranks segments by h(s)."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(Perceptron, question.fitted.model)
        self.known = question.labels().num_rows > 0
        self.how = "nothing of a user: this ranking is the same for everybody"

    def scores(self, features: Tensor) -> Tensor:
        return self.model(features, None)

    def explain(self, rows: list[dict[str, Any]], found: Scored) -> None:
        """Add `why` to each row: how far its score is above the mean of its video."""
        total = np.bincount(found.video, weights=found.score, minlength=len(found.videos))
        mean = total / np.bincount(found.video, minlength=len(found.videos)).clip(1)
        of = dict(zip(found.videos, mean.tolist(), strict=True))
        for row in rows:
            row["why"] = {"above_mean_of_video": row["score"] - of[row["video_id"]]}


class PHDGIFsAdviser(LikesAdviser):
    """Ranks segments by h(s, a)."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(Perceptron, question.fitted.model)

    def scores(self, features: Tensor) -> Tensor:
        mean = self.history.mean(0) if self.known else torch.zeros(self.model.sizes["features"])
        return self.model(features, mean)
