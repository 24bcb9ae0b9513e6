"""FPMC, the floor of the Dynamic RNN (Rendle, Freudenthaler and Schmidt-Thieme, "Factorizing Personalized Markov Chains
for Next-Basket Recommendation", WWW 2010): what a user likes in general, plus what follows what they watched last.

Its score of video i for user u after the last basket B, in the paper's names and without what drops out of a ranking:

    x̂(u, i) = v_u^{U,I}·v_i^{I,U} + 1/|B| Σ_{l ∈ B} v_i^{I,L}·v_l^{L,I}

has a vector of each user, but the Dynamic RNN's protocol tests users that are not in the training. Here v_u^{U,I} is
the mean of one vector of each video that u has watched, in training and test alike. To fit a vector to the known past
of each test user instead would give FPMC an optimisation at test time that the Dynamic RNN does not have, and vectors
that the videos' were not trained against. The video-to-video part is the paper's. It needs no store.

Two more departures. Videos are watched one by one, so a basket is the last `basket` of them, by default one: a Markov
chain of videos. And each video i has a bias b_i: the paper can hide one in a constant part of v_u, which the mean of no
videos does not have. With it an unknown user gets what most users watch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.core.base import Model
from reelmill.models.core.sampling import Negatives
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import Past
from reelmill.models.protocols.next_videos.task import HistoryTask, figures
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Batch:
    """B watches of training users."""

    past: Past
    """What each user had watched before: B rows."""
    positive: Tensor
    """(B,) the video then watched."""
    negative: Tensor
    """(B, ·) videos that the user never watches."""


class FPMC(Model):
    """N videos, D dimensions of either part."""

    def __init__(self, settings: FPMCSettings, videos: int) -> None:
        super().__init__()
        self.settings = settings
        self.sizes = {"videos": videos}
        self.liked = nn.Parameter(torch.empty(videos, settings.dim))
        """What a watched video adds to v_u^{U,I}."""
        self.last = nn.Parameter(torch.empty(videos, settings.dim))
        """v^{L,I}"""
        self.item = nn.Parameter(torch.empty(videos, 2 * settings.dim))
        """v^{I,U} and v^{I,L}, side by side."""
        self.bias = nn.Parameter(torch.zeros(videos))
        """b"""

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all vectors with deviation `init_std`."""
        with torch.no_grad():
            for vectors in (self.liked, self.last, self.item):
                vectors.normal_(0, self.settings.init_std, generator=generator)
        return self

    def user(self, past: Past) -> Tensor:
        """(R, 2D) of R pasts: v_u^{U,I}, and the mean of v^{L,I} over the last basket; zero where nothing is known."""
        basket = past.last(self.settings.basket)
        there = (basket >= 0).to(self.last.dtype)
        vectors = F.embedding(basket.clamp(min=0), self.last) * there[..., None]
        return torch.cat([past.mean(self.liked, 0.0), vectors.sum(1) / there.sum(1, keepdim=True).clamp(min=1)], 1)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """S-BPR (the paper's eq. 10): the mean of −ln σ(x̂(u, i) − x̂(u, j)) over watches i and negatives j, and λ times
        the squares of what each comparison is made of."""
        user = self.user(batch.past)[:, None]
        video = torch.cat([batch.positive[:, None], batch.negative], 1)
        item, bias = F.embedding(video, self.item), self.bias[video]
        score = (user * item).sum(2) + bias
        preference = F.softplus(score[:, 1:] - score[:, :1]).mean()
        l2 = user.square().sum((1, 2)).mean() + item.square().sum(2).mean() + bias.square().mean()
        return {"loss": preference + self.settings.l2 * l2, "preference": preference}

    @torch.no_grad()
    def score(self, past: Past) -> Tensor:
        """x̂ (R, N) of all videos for R pasts."""
        return self.user(past) @ self.item.T + self.bias


class FPMCTask(HistoryTask):
    """The Dynamic RNN's protocol. It trains on the training users' watches after the first session, as that does; the
    past of a watch is what was watched before it. Watches of one millisecond are not in each other's past."""

    settings: FPMCSettings

    def __init__(self, data: Histories, settings: FPMCSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        mine = self.split.watched[0] < self.split.train
        user, video, ms = (self._tensor(column[mine]) for column in self.split.watched)
        self.negatives = Negatives(user, video, self.split.train, self.n)
        later = ms >= int(self.split.moments[0])
        usable = later & self.negatives.possible(user)
        if not usable.any():
            raise InputError(
                "every training user with a watch after the first session has watched all videos: there are no "
                "negatives; ingest more"
            )
        self.user, self.video, self.moment = user[usable], video[usable], ms[usable]
        self.unusable = int((later & ~usable).sum())

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        own = {"train_watches": len(self.user), "train_watches_without_negative": self.unusable}
        return {**super().counts, **own}

    def model(self, generator: torch.Generator) -> FPMC:
        return FPMC(self.settings, self.n).initialise(generator).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            user = self.user[rows]
            past = self.watched.until(user, self.moment[rows])
            yield Batch(past, self.video[rows], self.negatives.draw(user, self.settings.negatives, generator))

    def validate(self, model: FPMC) -> dict[str, float]:
        return figures(self._lists(model, self.validation))

    def evaluate(self, model: FPMC) -> dict[str, Any]:
        return self.tables({"fpmc": self._lists(model, self.test)})

    def _lists(self, model: FPMC, users: np.ndarray) -> np.ndarray:
        return self.ranked(lambda some: model.score(self._pasts(some)[0]).cpu().numpy(), users)
