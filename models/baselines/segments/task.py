"""Tasks of the systems compared with TransGRec: its protocol as it is, so that split, cases, floors and intervals are
its own, to the last bit."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.segments.settings import OneVideoSettings
from reelmill.models.core.rows import integers
from reelmill.models.core.sampling import Negatives
from reelmill.models.data.cases import Cases
from reelmill.models.protocols.segments.data import Interactions
from reelmill.models.protocols.segments.task import SegmentTask
from reelmill.storage.errors import InputError


class ScoresTask(SegmentTask):
    """For a system that gives each candidate one score, known from its features."""

    name: str
    """Of the recommender, and of its row."""

    def validate(self, model: Any) -> dict[str, float]:
        cases = self.split.validation
        if not len(cases):
            return {}
        return self.validated(self.scores(model, cases, self.features, self.validation_place))

    def evaluate(self, model: Any) -> dict[str, Any]:
        cases = self.split.test
        segments, place = np.unique(cases.segment, return_inverse=True)
        return self.tables({self.name: [self.scores(model, cases, self.on_device(segments), place)]})

    def scores(self, model: Any, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        """(T,) of the candidates of cases, whose standardised features are the rows `place` (T,) of (n, dim)."""
        raise NotImplementedError


class OneVideoTask(ScoresTask):
    """For a system that learns to rank a positive above other segments of the same video.

    `by_user`: above those that this user has not marked; else above those that no user has marked. Both in training:
    no mark of the validation or the test is looked at. Positives of a video without such a segment are counted."""

    by_user = True
    settings: OneVideoSettings
    pair: Tensor
    """(pairs,) user · videos + video, of the pairs of user and video with a like; if `by_user`."""

    def __init__(self, data: Interactions, settings: OneVideoSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        _, first, video, size = (
            integers(numbers, device)
            for numbers in np.unique(
                data.segment_video[self.items], return_index=True, return_inverse=True, return_counts=True
            )
        )
        self.video, self.first, self.size = video, first, size
        """(N,) number of each item's video; (videos,) the first item of each video, and how many it has."""
        item, group, sizes = self.edge_item, video[self.edge_item], size
        own = group
        if self.by_user:
            self.pair, group = torch.unique(self.edge_user * len(size) + group, return_inverse=True)
            own, sizes = group, size[self.pair % len(size)]
        else:
            item = torch.unique(item)
            own = video[item]
        self.negatives = Negatives(own, item - first[video[item]], len(sizes), sizes)
        usable = self.negatives.possible(group)
        self.user, self.item, self.group = self.edge_user[usable], self.edge_item[usable], group[usable]
        self.unusable = len(group) - len(self.item)
        if not len(self.item):
            raise InputError("every segment of every training video is marked: there is nothing to rank below a like")

    def others(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(n, negatives) items of the same video, for the training positives `rows` (n,)."""
        drawn = self.negatives.draw(self.group[rows], self.settings.negatives, generator)
        return self.first[self.video[self.item[rows]]][:, None] + drawn
