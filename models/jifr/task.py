"""The protocol of JIFR (§4): split, batches, validation and the two tests. The equations are in `jifr`.

Ratings are filtered to users and items with at least five, over and over until none falls away, and split at random.
The model has a row for each user and item with a training rating; validation and test ratings of others are dropped and
counted. Frame likes are read by the frame test alone, and only those of (user, item) pairs of the test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.sampling import Negatives
from reelmill.models.data.cases import Cases
from reelmill.models.data.pairs import Lists
from reelmill.models.jifr.model import JIFR, Batch
from reelmill.models.jifr.parts import Frames
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.metrics import evaluate, untrained
from reelmill.models.protocols.items_and_frames.cases import (
    FRAME_TOP,
    ITEM_TOP,
    ItemCases,
    among_unrated,
    by_pair,
    frame_cases,
    measured,
    metrics,
)
from reelmill.models.protocols.items_and_frames.data import Ratings
from reelmill.storage.errors import InputError

AT_ONCE = 256
"""Users, or items, that are scored or embedded at a time."""
HEADLINE = ("item_hr@15", "item_ndcg@15", "frame_hr@3", "frame_ndcg@3")
"""What table 2 shows, and so do the tables here, first."""


class Scores(Protocol):
    """A ranking of items and of frames. Users and items have the model's numbers."""

    def items(self, users: np.ndarray) -> np.ndarray:
        """Scores (m, N) of all items for users (m,)."""

    def frames(self, cases: Cases) -> np.ndarray:
        """Scores (T,) of the candidates of frame cases: `video` is the item, `segment` the data's number of a frame."""


class JIFRTask:
    """The paper's protocol (§4) on one device."""

    watch = "item_ndcg@15"

    def __init__(self, data: Ratings, settings: JIFRSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        shares = settings.validation_share, settings.test_share
        self.split = by_pair(data, self._rng(0), settings.least_ratings, *shares)
        self.m, self.n = len(self.split.users), len(self.split.items)
        mean, rms = data.spread(self.split.items)
        if not rms > 0:
            raise InputError(
                f"frames of {data.store.spec.name} are constant over the training items; extract them anew"
            )
        if settings.standardise != "centre":
            mean, rms = np.zeros_like(mean), float(np.hypot(rms, np.linalg.norm(mean)))
        self.mean = torch.from_numpy(mean).float()
        self.scale = torch.tensor(1.0 if settings.standardise == "none" else rms, dtype=torch.float32)
        self.resident = self._read(np.arange(self.n)) if self._fits() else None
        user, item = (self._tensor(numbers) for numbers in self.split.train)
        self.negatives = Negatives(user, item, self.m, self.n)
        usable = self.negatives.possible(user)
        self.user, self.item = user[usable], item[usable]
        self.unusable = len(user) - len(self.user)
        if not len(self.user):
            raise InputError(f"every user has rated all {self.n} items: there are no negatives; ingest more items")
        self.validation = self._validation()
        self.test_users = self._test_users()
        self.frame_test = frame_cases(data, self.split)

    @property
    def counts(self) -> dict[str, int]:
        cases = self.frame_test
        liked = np.add.reduceat(cases.relevant, cases.start[:-1], dtype=np.int64) if len(cases) else np.zeros(0, int)
        return {
            **asdict(self.data.counts),
            **self.split.counts,
            "train_ratings_without_negative": self.unusable,
            "validation_users": sum(len(users) for users, _ in self.validation),
            "test_users": len(self.test_users),
            "test_users_without_unrated": len(np.unique(self.split.test[0])) - len(self.test_users),
            "frame_pairs": len(cases),
            "frame_pairs_with_every_frame_liked": int((liked == np.diff(cases.start)).sum()),
            "frame_likes_outside_test": self.data.counts.frame_likes - int(liked.sum()),
        }

    def identities(self) -> dict[str, list[str]]:
        data, split = self.data, self.split
        return {"users": [data.users[u] for u in split.users], "items": [data.items[i] for i in split.items]}

    def model(self, generator: torch.Generator) -> JIFR:
        model = JIFR(self.settings, self.m, self.n, self.data.dim).initialise(generator)
        model.feature_mean.copy_(self.mean)
        model.feature_scale.copy_(self.scale)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            user, positive = self.user[rows], self.item[rows]
            negative = self.negatives.draw(user, self.settings.negatives, generator)
            item, place = torch.unique(torch.cat([positive[:, None], negative], 1), return_inverse=True)
            yield Batch(user, item, place[:, 0], place[:, 1:], self._frames_of(item))

    def validate(self, model: JIFR) -> dict[str, float]:
        self._settle(model)
        if not self.validation:
            return {}
        fitted = _Fitted(self, model)
        values = [measured(c.gather(fitted.items(users)), c.relevant, c.start, (15,)) for users, c in self.validation]
        return dict(zip(metrics("item", (15,)), np.concatenate(values).mean(axis=0).tolist(), strict=True))

    def evaluate(self, model: JIFR) -> dict[str, Any]:
        self._settle(model)
        return self.tables({"jifr": _Fitted(self, model)})

    def tables(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """Both tests of these rankings and of the floors."""
        rows = evaluate.rows(self._item_test(scores), metrics("item", ITEM_TOP), self.settings.seed)
        if len(self.frame_test):
            rows += evaluate.rows(self._frame_test(scores), metrics("frame", FRAME_TOP), self.settings.seed)
        rows.sort(key=lambda row: HEADLINE.index(row["metric"]) if row["metric"] in HEADLINE else len(HEADLINE))
        return {"rows": rows}

    def _item_test(self, scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
        """{ranking: (C, metrics)} of the test users. Means over the repeats: every ranking meets the same draws."""
        split, count, rng = self.split, self.settings.test_negatives, self._rng(1)
        known, positive = self._lists("train", "validation", "test"), self._lists("test")
        popular = np.bincount(split.train[1], minlength=self.n).astype(np.float64)
        # Where all unrated items take part, every repeat is the same.
        repeats = self.settings.test_repeats if count < self.n else 1
        parts: dict[str, list[np.ndarray]] = {}
        for some in _chunks(self.test_users):
            cases = [among_unrated(some, positive, known, self.n, count, rng) for _ in range(repeats)]
            flat = {"random": np.zeros(self.n), "most popular": popular}
            full = {name: np.broadcast_to(row, (len(some), self.n)) for name, row in flat.items()}
            full |= {name: ranking.items(some) for name, ranking in scores.items()}
            for name, every in full.items():
                drawn = [measured(c.gather(every), c.relevant, c.start, ITEM_TOP) for c in cases]
                parts.setdefault(name, []).append(np.mean(drawn, axis=0))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _frame_test(self, scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
        """{ranking: (C, metrics)}."""
        cases, rng = self.frame_test, self._rng(2)
        draws = {
            "random": [untrained.random(cases)],
            "smooth random": [untrained.smooth_random(cases, rng) for _ in range(untrained.DRAWS)],
            "early first": [-cases.segment.astype(np.float64)],
            **{name: [ranking.frames(cases)] for name, ranking in scores.items()},
        }
        return {
            name: np.mean([measured(s, cases.relevant, cases.start, FRAME_TOP) for s in some], axis=0)
            for name, some in draws.items()
        }

    def _validation(self) -> list[tuple[np.ndarray, ItemCases]]:
        """Users and their cases, a chunk at a time; drawn once, the same in each epoch. The test has no part in it:
        what a user rates there counts as unrated here."""
        known, positive = self._lists("train", "validation"), self._lists("validation")
        users = np.flatnonzero((positive.count > 0) & (known.count < self.n))
        rng, count = self._rng(3), self.settings.test_negatives
        return [(some, among_unrated(some, positive, known, self.n, count, rng)) for some in _chunks(users)]

    def _test_users(self) -> np.ndarray:
        """(C,) users with a test rating, and an item that they did not rate. Raises InputError if there is none."""
        known, positive = self._lists("train", "validation", "test"), self._lists("test")
        users = np.flatnonzero((positive.count > 0) & (known.count < self.n))
        if not len(users):
            raise InputError(f"every test user has rated all {self.n} items: there is nothing to rank against")
        return users

    def _lists(self, *parts: str) -> Lists:
        pairs = [getattr(self.split, part) for part in parts]
        user, item = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
        return Lists(user, item, self.m)

    def _settle(self, model: JIFR) -> None:
        for items in _chunks(np.arange(self.n)):
            rows = self._tensor(items)
            model.settle(rows, self._frames_of(rows))

    def _fits(self) -> bool:
        """Do all frames fit the device, with as much again to work in? A CPU's memory is the system's to manage."""
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(self.data.frame_count[self.split.items].sum()) * self.data.dim * 4 < free // 2

    def _frames_of(self, items: Tensor) -> Frames:
        """Standardised frames of items (n,)."""
        return self.resident.of(items) if self.resident is not None else self._read(items.cpu().numpy())

    def _read(self, items: np.ndarray) -> Frames:
        """The same from the store, an item at a time."""
        numbers = self.split.items[items]
        start = np.concatenate([[0], np.cumsum(self.data.frame_count[numbers])])
        out = torch.empty(int(start[-1]), self.data.dim, device=self.device)
        filled = 0
        for vectors in self.data.vectors(numbers):
            out[filled : filled + len(vectors)] = ((torch.from_numpy(vectors) - self.mean) / self.scale).to(self.device)
            filled += len(vectors)
        return Frames(out, self._tensor(start))

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream])

    def _tensor(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers, np.int64)).to(self.device)


class _Fitted:
    """The rankings of a settled model."""

    def __init__(self, task: JIFRTask, model: JIFR) -> None:
        self.task, self.model = task, model

    def items(self, users: np.ndarray) -> np.ndarray:
        return torch.cat(list(self.model.rank(self.task._tensor(users)))).cpu().numpy()

    def frames(self, cases: Cases) -> np.ndarray:
        task, found = self.task, []
        for some in _chunks(np.arange(len(cases))):
            vectors = np.concatenate(list(task.data.vectors(task.split.items[cases.video[some]])))
            user = np.repeat(cases.user[some], np.diff(cases.start)[some])
            scores = self.model.score_frames(task._tensor(user), torch.from_numpy(vectors).to(task.device))
            found.append(scores.cpu().numpy())
        return np.concatenate(found)


def _chunks(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[i : i + AT_ONCE] for i in range(0, len(numbers), AT_ONCE)]
