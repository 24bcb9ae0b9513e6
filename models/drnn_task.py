"""The protocol of the Dynamic RNN (§3.2, §4.2): split, batches, validation and test. The equations are in `drnn`.

Users are divided, and nobody who is tested is trained on. What a training user does in all sessions is learned from:
at the end of each session her past goes in, and what she watches after it is predicted. Of a test user the first
`known_months` are known; the rest of the year is the truth.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import evaluate
from models.drnn import DRNN
from models.drnn_cases import by_user, f_score, of_lists, of_scores
from models.drnn_data import Histories
from models.drnn_parts import Batch, Past, Relevance, Stream, Videos, draw_pairs
from models.drnn_settings import DRNNSettings
from storage.errors import InputError

AT_ONCE = 256
"""Users who get their lists at a time."""


class DRNNTask:
    """The paper's protocol (§4.2) on one device."""

    watch = "f"

    def __init__(self, data: Histories, settings: DRNNSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        if settings.reads_posts and not data.post_topics:
            raise InputError(f"network {settings.network!r} needs topics of posts; name a store for the role 'posts'")
        if settings.reads_topics and not data.mixture.shape[1]:
            raise InputError(f"network {settings.network!r} needs topics of videos; name a store for the role 'topics'")
        if not settings.embeds and "text" not in data.stores:
            raise InputError("variant 'rnn' reads nothing but text; name a store for the role 'text'")
        self.split = by_user(data, settings, np.random.default_rng(settings.seed))
        self.n = len(self.split.videos)
        self.videos = self._videos()
        users = len(self.split.users)
        self.watched, self.posted = (
            Stream(self._tensor(who), self._tensor(ms), self._tensor(what), users)
            for who, what, ms in (self.split.watched, self.split.posted)
        )
        self.last = np.full(users, np.iinfo(np.int64).min)
        np.maximum.at(self.last, self.split.watched[0], self.split.watched[2])
        self.user, self.moment, self.without_future = self._examples()
        mine = self.split.watched[0] < self.split.train
        watcher, video = (self._tensor(column[mine]) for column in self.split.watched[:2])
        self.popularity = torch.bincount(video, minlength=self.n).cpu().numpy().astype(np.float64)
        self.relevance = (
            Relevance(watcher, video, self.split.train, settings.nearest) if settings.models_relevance else None
        )
        checked = self.split.train + self.split.validation
        self.validation, self.lost_validation = self._with_future(np.arange(self.split.train, checked))
        self.test, self.lost_test = self._with_future(np.arange(checked, users))
        if not len(self.test):
            raise InputError(
                f"none of {users - checked} test users watched anything after month {settings.known_months} of "
                f"{settings.sessions}; ingest more watches, or set known_months, sessions or end"
            )

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        watched, posted = self._pasts(self.test)
        known = watched.known | posted.known if self.settings.reads_posts else watched.known
        return {
            **asdict(self.data.counts),
            **self.split.counts,
            "videos_nobody_trains_on": int((self.popularity == 0).sum()),
            "videos_with_picture_and_text": int(self.videos.complete.sum()),
            "train_examples": len(self.user),
            "train_sessions_without_future": self.without_future,
            "validation_users_without_truth": self.lost_validation,
            "test_cases": len(self.test),
            "test_users_without_truth": self.lost_test,
            "test_users_of_whom_nothing_is_known": int((~known).sum()),
        }

    def identities(self) -> dict[str, list[str]]:
        return {"videos": [self.data.videos[v] for v in self.split.videos]}

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
        if not len(self.validation):
            return {}
        means = self.measured(model, self.validation).mean(axis=0)
        return {"f": float(f_score(means)), "precision": float(means[0]), "recall": float(means[1])}

    def evaluate(self, model: DRNN) -> dict[str, Any]:
        """The lists of the test users; `at once` is the first ranking alone, without what feeding back adds (§3.4)."""
        model.settle(self.videos)
        at_once = self.ranked(lambda some: model.score(*self._pasts(some)).cpu().numpy(), self.test)
        return self.tables({"drnn at once": at_once, "drnn": self.measured(model, self.test)})

    def tables(self, values: dict[str, np.ndarray]) -> dict[str, Any]:
        """Rows of these rankings {name: (C, 2)}, as `measured` gives them, and of the floors."""

        def alike(row: np.ndarray) -> np.ndarray:
            """The same scores (N,) for all."""
            return self.ranked(lambda some: np.broadcast_to(row, (len(some), self.n)), self.test)

        k = self.settings.list_length
        floors = {"random": alike(np.zeros(self.n)), "most popular": alike(self.popularity)}
        metrics = [f"precision@{k}", f"recall@{k}"]
        rows = evaluate.rows(floors | values, metrics, self.settings.seed, {f"f@{k}": f_score})
        return {"rows": sorted(rows, key=lambda row: row["metric"] in metrics)}

    def measured(self, model: DRNN, users: np.ndarray) -> np.ndarray:
        """Precision and recall (C, 2) of the lists that a settled model gives users (C,) at the end of the known
        months, against what they watch after."""
        found = []
        for some in _chunks(users):
            lists, _ = model.recommend(*self._pasts(some), self.settings.list_length)
            found.append(of_lists(lists.cpu().numpy(), self._truth(some)))
        return np.concatenate(found)

    def ranked(self, scores: Callable[[np.ndarray], np.ndarray], users: np.ndarray) -> np.ndarray:
        """The same of the videos of highest score, those known to be watched left out. `scores`: users (n,) → (n, N) of
        all videos."""
        found = []
        for some in _chunks(users):
            past, closed = self._pasts(some)[0], np.zeros((len(some), self.n), bool)
            closed[past.row.cpu().numpy(), past.member.cpu().numpy()] = True
            found.append(of_scores(scores(some), self._truth(some), closed, self.settings.list_length))
        return np.concatenate(found)

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
        """User and moment (E,) of each training user and session end after which she watches something, and how many
        there are after which she does not. Raises InputError if there is none."""
        who, session = np.nonzero(self.last[: self.split.train, None] >= self.split.moments)
        if not len(who):
            raise InputError("no training user watched anything after the first session; ingest more, or set end")
        left = self.split.train * len(self.split.moments) - len(who)
        return self._tensor(who), self._tensor(self.split.moments[session]), left

    def _with_future(self, users: np.ndarray) -> tuple[np.ndarray, int]:
        """Those of users (n,) who watch something after the known months, and how many do not."""
        kept = users[self.last[users] >= self._known_until]
        return kept, len(users) - len(kept)

    def _truth(self, users: np.ndarray) -> np.ndarray:
        """(n, N) bool: what users (n,) watch after the known months."""
        user, video, ms = self.split.watched
        place = np.full(len(self.split.users), -1)
        place[users] = np.arange(len(users))
        here = (place[user] >= 0) & (ms >= self._known_until)
        truth = np.zeros((len(users), self.n), bool)
        truth[place[user[here]], video[here]] = True
        return truth

    def _pasts(self, users: np.ndarray) -> tuple[Past, Past]:
        """What is known of users (n,) when they are tested: watches, unless they are hidden, and posts."""
        who = self._tensor(users)
        when = torch.full_like(who, self._known_until)
        hidden = Past.nothing(len(users), self.device)
        return hidden if self.settings.cold_start else self.watched.until(who, when), self.posted.until(who, when)

    @property
    def _known_until(self) -> int:
        return int(self.split.moments[self.settings.known_months - 1])

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
        """(N, ·) the parts (N, ·) side by side; zero where a video lacks one. Raises InputError if those that the
        training users watched are all alike."""
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

    def _tensor(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers, np.int64)).to(self.device)


def _chunks(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[i : i + AT_ONCE] for i in range(0, len(numbers), AT_ONCE)]
