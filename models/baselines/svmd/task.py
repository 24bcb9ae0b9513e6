"""What SVM-D trains on, and its scores. Features do not change while it trains, so that every segment of a video is
described once for each user who likes something in it."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.baselines.segments.likes import Likes
from reelmill.models.baselines.segments.task import OneVideoTask
from reelmill.models.baselines.svmd import SVMDSettings
from reelmill.models.baselines.svmd.model import RankingSVM, described
from reelmill.models.core.rows import integers
from reelmill.models.data.cases import Cases
from reelmill.models.protocols.segments.data import Interactions

AT_ONCE = 1 << 25
"""Numbers of features that are compared at a time: 128 MiB."""


class SVMDTask(OneVideoTask):
    """Pairs of a positive and a segment of the same video that the user did not mark."""

    name = "svmd"
    settings: SVMDSettings

    def __init__(self, data: Interactions, settings: SVMDSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        self.likes = Likes(self)
        user, video = self.pair // len(self.size), self.pair % len(self.size)
        number = integers(np.unique(data.segment_video[self.items]), device)[video]
        self.start = F.pad(self.size[video].cumsum(0), (1, 0))
        case = torch.repeat_interleave(self.size[video])
        rows = self.first[video][case] + torch.arange(len(case), device=device) - self.start[case]
        self.numbers = self._described(user, number, self.start, rows, self.features)
        """φ of all segments of each pair of user and video, one pair after another."""
        self.validated_numbers = self._of_cases(self.split.validation, self.features, self.validation_place)

    def identities(self) -> dict[str, list[str]]:
        """None: a user is their history."""
        return {}

    def model(self, generator: torch.Generator) -> RankingSVM:
        return RankingSVM(self.settings, self.data.dim).measured(self.mean, self.scale).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(len(self.item), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            items = torch.cat([self.item[rows][:, None], self.others(rows, generator)], 1)
            place = items - self.first[self.video[items[:, :1]]] + self.start[self.group[rows]][:, None]
            numbers = self.numbers[place]
            yield numbers[:, :1] - numbers[:, 1:]

    @torch.no_grad()
    def validate(self, model: RankingSVM) -> dict[str, float]:
        """Figures of the C with the best one, which is the one to score by from now on."""
        if not len(self.split.validation):
            return {}
        scores = (self.validated_numbers @ model.w.T).cpu().numpy()
        figures = [self.validated(column) for column in scores.T]
        best = max(range(len(figures)), key=lambda n: figures[n][self.watch])
        model.chosen.fill_(best)
        return figures[best]

    def scores(self, model: RankingSVM, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        return model.score(self._of_cases(cases, features, place)).cpu().numpy()

    def _of_cases(self, cases: Cases, features: Tensor, place: np.ndarray) -> Tensor:
        user, video, start, rows = (integers(n, self.device) for n in (cases.user, cases.video, cases.start, place))
        return self._described(user, video, start, rows, features)

    def _described(self, user: Tensor, video: Tensor, start: Tensor, rows: Tensor, features: Tensor) -> Tensor:
        """φ (T, numbers) of the candidates of users and videos (n,): candidates start[k] … start[k + 1] − 1 are rows
        (T,) of features (·, dim). Cases of about one size are compared together."""
        out = features.new_zeros(len(rows), self.settings.neighbours + 2)
        size, liked = start.diff(), self.likes.start.diff()[user]
        left = torch.argsort(torch.maximum(size, liked), descending=True)
        while len(left):
            width = max(1, int(torch.maximum(size, liked)[left[0]]))
            some, left = left.tensor_split([max(1, AT_ONCE // (2 * width * features.shape[1]))])
            candidate = torch.arange(int(size[some].max()), device=out.device)
            valid = candidate < size[some][:, None]
            place = start[some][:, None] + candidate
            item, there = self.likes.lists(user[some], video[some])
            segments = features[rows[torch.where(valid, place, 0)]]
            numbers = described(segments, self.likes.features[item], there, self.settings.neighbours)
            out[place[valid]] = numbers[valid]
        return out
