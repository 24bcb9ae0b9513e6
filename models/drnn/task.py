"""What the Dynamic RNN learns from (§3.2, §4.2), and its lists. Split and test are those of `protocols.next_videos`,
the equations are in `model`.

It trains on all sessions of the training users: at the end of each session the past goes in, and what the user watches
after it is predicted.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.drnn.model import DRNN
from reelmill.models.drnn.parts import Batch, Relevance, Videos, draw_pairs
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.protocols.next_videos.cases import of_lists
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.task import HistoryTask, chunks, figures
from reelmill.storage.errors import InputError


class DRNNTask(HistoryTask):
    """The paper's protocol (§4.2) on one device."""

    settings: DRNNSettings

    def __init__(self, data: Histories, settings: DRNNSettings, device: torch.device) -> None:
        if not data.stores.keys() & {"frames", "clips", "text"}:
            raise InputError("frames, clips and text are all left out: nothing is known of the videos; name a store")
        if settings.reads_posts and not data.post_topics:
            raise InputError(f"network {settings.network!r} needs topics of posts; name a store for the role 'posts'")
        if settings.reads_topics and not data.mixture.shape[1]:
            raise InputError(f"network {settings.network!r} needs topics of videos; name a store for the role 'topics'")
        if not settings.embeds and "text" not in data.stores:
            raise InputError("variant 'rnn' reads nothing but text; name a store for the role 'text'")
        super().__init__(data, settings, device)
        self.videos = self._videos()
        self.user, self.moment, self.without_future = self._examples()
        mine = self.split.watched[0] < self.split.train
        watcher, video = (self._tensor(column[mine]) for column in self.split.watched[:2])
        self.relevance = (
            Relevance(watcher, video, self.split.train, settings.nearest) if settings.models_relevance else None
        )

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        return {
            **super().counts,
            "videos_with_picture_and_text": int(self.videos.complete.sum()),
            "train_examples": len(self.user),
            "train_sessions_without_future": self.without_future,
        }

    def model(self, generator: torch.Generator) -> DRNN:
        picture, text, topics = (part.shape[1] for part in (self.videos.picture, self.videos.text, self.videos.mixture))
        model = DRNN(self.settings, self.n, picture, text, topics, self.data.post_topics)
        return model.initialise(generator).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Examples in random order; the pairs of eq. 1, drawn once an epoch, are divided among the batches."""
        parts = torch.randperm(len(self.user), generator=generator, device=self.device).split(self.settings.batch)
        nothing = torch.zeros(self.n, dtype=torch.bool, device=self.device)
        pairs = draw_pairs(self.videos.complete if self.settings.embeds else nothing, generator)
        for rows, pair in zip(parts, pairs.tensor_split(len(parts)), strict=True):
            yield self._batch(self.user[rows], self.moment[rows], pair, generator)

    def validate(self, model: DRNN) -> dict[str, float]:
        model.settle(self.videos)
        return figures(self.measured(model, self.validation))

    def evaluate(self, model: DRNN) -> dict[str, Any]:
        """The lists of the test users; `at once` is the first ranking alone, without what feeding back adds (§3.4)."""
        model.settle(self.videos)
        at_once = self.ranked(lambda some: model.score(*self._pasts(some)).cpu().numpy(), self.test)
        return self.tables({"drnn at once": at_once, "drnn": self.measured(model, self.test)})

    def measured(self, model: DRNN, users: np.ndarray) -> np.ndarray:
        """Precision and recall (C, 2) of the lists that a settled model gives users (C,) at the end of the known
        months, against what they watch after."""
        found = [np.zeros((0, 2))]
        for some in chunks(users):
            lists, _ = model.recommend(*self._pasts(some), self.settings.list_length)
            found.append(of_lists(lists.cpu().numpy(), self._truth(some)))
        return np.concatenate(found)

    def _known(self) -> np.ndarray:
        watched, posted = self._pasts(self.test)
        return (watched.known | posted.known if self.settings.reads_posts else watched.known).cpu().numpy()

    def _batch(self, user: Tensor, moment: Tensor, pair: Tensor, generator: torch.Generator) -> Batch:
        """Rows: the examples, then the positive and then the negative users of their triplets, at the same moments."""
        empty = torch.zeros(0, 3, dtype=torch.long, device=self.device)
        place, near, far = (self.relevance.draw(user, generator) if self.relevance else empty).unbind(1)
        each = torch.arange(len(place), device=self.device) + len(user)
        triplet = torch.stack([place, each, each + len(place)], 1)
        who, when = torch.cat([user, near, far]), torch.cat([moment, moment[place], moment[place]])
        after = self.watched.after(who, when, self.settings.longest)
        after = after[:, : max(1, int((after >= 0).sum(1).max()))]
        return Batch(
            self.videos, self.watched.until(who, when), self.posted.until(who, when), after, len(user), triplet, pair
        )

    def _examples(self) -> tuple[Tensor, Tensor, int]:
        """User and moment (E,) of each training user and session end that a watch follows, and the number of those that
        none follows."""
        who, session = np.nonzero(self.last[: self.split.train, None] >= self.split.moments)
        left = self.split.train * len(self.split.moments) - len(who)
        return self._tensor(who), self._tensor(self.split.moments[session]), left

    def _videos(self) -> Videos:
        """Contents of the N videos, standardised over the training users' ones."""
        trained = np.zeros(self.n, bool)
        trained[self.split.watched[1][self.split.watched[0] < self.split.train]] = True
        pictures = [rows[self.split.videos] for rows in self.data.pictures.values()]
        pictures = pictures or [np.full((self.n, 1), np.nan, np.float32)]
        parts = {"picture": pictures, "text": [self.data.text[self.split.videos]]}
        picture, text = (self._standardised(name, rows, trained) for name, rows in parts.items())
        mixture = torch.from_numpy(self.data.mixture[self.split.videos])
        return Videos(picture.to(self.device), text.to(self.device), mixture.to(self.device))

    def _standardised(self, name: str, parts: list[np.ndarray], trained: np.ndarray) -> Tensor:
        """(N, ·) the parts (N, ·) side by side; zero where a video has none. Raises InputError if those of all videos
        that the training users watched are equal."""
        there = [np.isfinite(rows).all(axis=1) for rows in parts]
        means = [rows[t & trained].mean(axis=0, dtype=np.float64) if (t & trained).any() else np.zeros(rows.shape[1])
                 for rows, t in zip(parts, there, strict=True)]  # fmt: skip
        centred = [np.where(t[:, None], rows - m, 0) for rows, t, m in zip(parts, there, means, strict=True)]
        seen = np.any(there, axis=0) & trained
        if seen.any() and not any(
            np.ptp(rows[t & trained], axis=0).any() for rows, t in zip(parts, there, strict=True)
        ):
            raise InputError(f"{name} is the same for all videos that are trained on; extract features anew")
        if self.settings.standardise != "centre":
            centred = [np.where(t[:, None], rows, 0) for rows, t in zip(parts, there, strict=True)]
        whole = np.concatenate(centred, axis=1)
        if seen.any() and self.settings.standardise != "none":
            whole = whole / np.sqrt(np.square(whole[seen]).sum(axis=1).mean())
        return torch.from_numpy(whole.astype(np.float32))
