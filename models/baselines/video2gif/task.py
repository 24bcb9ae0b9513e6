"""What Video2GIF and PHD-GIFs train on, and their scores."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.segments.likes import Likes
from reelmill.models.baselines.segments.settings import PerceptronSettings
from reelmill.models.baselines.segments.task import OneVideoTask
from reelmill.models.baselines.video2gif.model import Batch, Perceptron
from reelmill.models.core.rows import integers
from reelmill.models.data.cases import Cases
from reelmill.models.data.vectors import CHUNK
from reelmill.models.protocols.segments.data import Interactions


class _PerceptronTask(OneVideoTask):
    """Either of the two."""

    settings: PerceptronSettings

    def model(self, generator: torch.Generator) -> Perceptron:
        model = Perceptron(self.settings, self.data.dim, int(self.by_user)).initialise(generator)
        return model.measured(self.mean, self.scale).to(self.device)

    def identities(self) -> dict[str, list[str]]:
        """None: a user is their history, if anything."""
        return {}

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.item), generator=generator, device=self.device)
        widths = self.settings.hidden_1, self.settings.hidden_2
        for rows in order.split(self.settings.batch):
            items = torch.cat([self.item[rows][:, None], self.others(rows, generator)], 1)
            kept = tuple(self._kept((*items.shape, width), generator) for width in widths)
            yield Batch(self.features[items], self.history(rows), (kept[0], kept[1]))

    def history(self, rows: Tensor) -> Tensor | None:
        """(B, dim) of the users of training positives (B,)."""
        raise NotImplementedError

    def _kept(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        share = self.settings.dropout
        return (torch.rand(shape, generator=generator, device=self.device) >= share).float() / (1 - share)


class Video2GIFTask(_PerceptronTask):
    """Users have no part in it."""

    name = "video2gif"
    by_user = False

    def history(self, rows: Tensor) -> None:
        return None

    @torch.no_grad()
    def scores(self, model: Perceptron, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        every = torch.cat([model(some, None) for some in features.split(CHUNK)])
        return every[integers(place, self.device)].cpu().numpy()


class PHDGIFsTask(_PerceptronTask):
    """A user is the mean of what they like in other videos."""

    name = "phdgifs"

    def __init__(self, data: Interactions, settings: PerceptronSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        self.likes = Likes(self)
        self.video_of = integers(data.segment_video[self.items], device)

    def history(self, rows: Tensor) -> Tensor:
        return self.likes.mean(self.user[rows], self.video_of[self.item[rows]])

    @torch.no_grad()
    def scores(self, model: Perceptron, cases: Cases, features: Tensor, place: np.ndarray) -> np.ndarray:
        history = self.likes.mean(integers(cases.user, self.device), integers(cases.video, self.device))
        case = integers(np.repeat(np.arange(len(cases)), np.diff(cases.start)), self.device)
        parts = zip(case.split(CHUNK), integers(place, self.device).split(CHUNK), strict=True)
        found = [model(features[rows], history[of]) for of, rows in parts]
        return torch.cat(found).cpu().numpy()
