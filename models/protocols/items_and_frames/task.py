"""The protocol of JIFR (§4) on one device: split, training pairs, standardised frames, validation and the two tests.

Ratings are filtered to users and items with at least five, over and over until none falls away, and split at random. A
model has a row for each user and item with a training rating; validation and test ratings of others are dropped and
counted. Frame likes are read by the frame test alone, and only those of (user, item) pairs of the test.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.rows import integers
from reelmill.models.core.sampling import Negatives
from reelmill.models.core.standardise import scaling
from reelmill.models.data.cases import Cases
from reelmill.models.data.pairs import Lists
from reelmill.models.metrics import evaluate, untrained
from reelmill.models.metrics.case_values import CaseValues
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
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.models.protocols.items_and_frames.settings import ItemsAndFramesSettings
from reelmill.storage.errors import InputError

AT_ONCE = 256
"""Users, or items, that are scored or embedded at a time."""
VALIDATED = metrics("item", (15,))
"""What validation measures."""
ITEMS, FRAMES = metrics("item", ITEM_TOP), metrics("frame", FRAME_TOP)
HEADLINE = ("item_hr@15", "item_ndcg@15", "frame_hr@3", "frame_ndcg@3")
"""What table 2 shows, and so do the tables here, first."""


class Scores(Protocol):
    """A ranking of items and of frames. Users and items have the model's numbers."""

    def items(self, users: np.ndarray) -> np.ndarray:
        """Scores (m, N) of all items for users (m,)."""

    def frames(self, cases: Cases) -> np.ndarray:
        """Scores (T,) of the candidates of frame cases: `video` is the item, `segment` the data's number of a frame."""


class ItemsAndFramesTask:
    """M users and N items. A recommender's own task adds its model, batches and scores."""

    watch = "item_ndcg@15"

    def __init__(self, data: Ratings, settings: ItemsAndFramesSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        shares = settings.validation_share, settings.test_share
        self.split = by_pair(data, self._rng(0), settings.least_ratings, *shares)
        self.m, self.n = len(self.split.users), len(self.split.items)
        what, spread = f"frames of {data.store.spec.name}", data.spread(self.split.items)
        self.mean, self.scale = scaling(spread, settings.standardise, what, "the training items")
        self.resident = self._read(np.arange(self.n)) if self._fits() else None
        user, item = (integers(numbers, device) for numbers in self.split.train)
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
        """What was used and what was left out, and why."""
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
        """The users and items behind the model's rows."""
        data, split = self.data, self.split
        return {"users": [data.users[u] for u in split.users], "items": [data.items[i] for i in split.items]}

    def frames_of(self, items: Tensor) -> Frames:
        """Standardised frames of items (n,)."""
        return self.resident.of(items) if self.resident is not None else self._read(items.cpu().numpy())

    def validated(self, scores: Scores) -> dict[str, float]:
        """Validation figures of a ranking; none without validation cases."""
        if not self.validation:
            return {}
        values = [
            measured(c.gather(scores.items(users)), c.relevant, c.start, VALIDATED) for users, c in self.validation
        ]
        return dict(zip(VALIDATED, np.concatenate(values).mean(axis=0).tolist(), strict=True))

    def tables(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """Both tests of these rankings and of the floors."""
        items, seed = self._item_test(scores), self.settings.seed
        rows = evaluate.rows(items, ITEMS, seed)
        cases = [self._item_values(items)]
        if len(self.frame_test):
            frames = self._frame_test(scores)
            rows += evaluate.rows(frames, FRAMES, seed)
            cases.append(self._frame_values(frames))
        rows.sort(key=lambda row: HEADLINE.index(row["metric"]) if row["metric"] in HEADLINE else len(HEADLINE))
        return {"rows": rows, "cases": cases}

    def _item_values(self, values: Mapping[str, np.ndarray]) -> CaseValues:
        """The case of a user holds the draws of `test_negatives` items, which the seed and the split decide."""
        names, settings = self.identities(), self.settings
        users = [names["users"][u] for u in self.test_users]
        pairs = [numbers for part in (self.split.train, self.split.validation, self.split.test) for numbers in part]
        drawn = np.array([settings.seed, settings.test_negatives, settings.test_repeats])
        return CaseValues("items", users, None, ITEMS, values, (np.array(names["items"]), drawn, *pairs))

    def _frame_values(self, values: Mapping[str, np.ndarray]) -> CaseValues:
        names, cases = self.identities(), self.frame_test
        users, items = ([names[kind][n] for n in of] for kind, of in (("users", cases.user), ("items", cases.video)))
        rows = self.data.frame_row[cases.segment]
        return CaseValues("frames", users, items, FRAMES, values, (cases.start, rows, cases.relevant))

    def lists(self, *parts: str) -> Lists:
        """The items of each user in these parts of the split: `train`, `validation`, `test`."""
        pairs = [getattr(self.split, part) for part in parts]
        user, item = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
        return Lists(user, item, self.m)

    def _item_test(self, scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
        """{ranking: (C, metrics)} of the test users. Means over the repeats: every ranking meets the same draws."""
        split, count, rng = self.split, self.settings.test_negatives, self._rng(1)
        known, positive = self.lists("train", "validation", "test"), self.lists("test")
        popular = np.bincount(split.train[1], minlength=self.n).astype(np.float64)
        # Where all unrated items take part, every repeat is the same.
        repeats = self.settings.test_repeats if count < self.n else 1
        parts: dict[str, list[np.ndarray]] = {}
        for some in chunks(self.test_users):
            cases = [among_unrated(some, positive, known, self.n, count, rng) for _ in range(repeats)]
            flat = {"random": np.zeros(self.n), "most popular": popular}
            full = {name: np.broadcast_to(row, (len(some), self.n)) for name, row in flat.items()}
            full |= {name: ranking.items(some) for name, ranking in scores.items()}
            for name, every in full.items():
                drawn = [measured(c.gather(every), c.relevant, c.start, ITEMS) for c in cases]
                parts.setdefault(name, []).append(np.mean(drawn, axis=0))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _frame_test(self, scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
        """{ranking: (C, metrics)}."""
        cases = self.frame_test
        draws = untrained.rows(cases, cases.segment, self._rng(2))
        draws |= {name: [ranking.frames(cases)] for name, ranking in scores.items()}
        return {
            name: np.mean([measured(s, cases.relevant, cases.start, FRAMES) for s in some], axis=0)
            for name, some in draws.items()
        }

    def _validation(self) -> list[tuple[np.ndarray, ItemCases]]:
        """Users and their cases, a chunk at a time; drawn once, the same in each epoch. What a user rates in the test
        counts as unrated here."""
        known, positive = self.lists("train", "validation"), self.lists("validation")
        users = np.flatnonzero((positive.count > 0) & (known.count < self.n))
        rng, count = self._rng(3), self.settings.test_negatives
        return [(some, among_unrated(some, positive, known, self.n, count, rng)) for some in chunks(users)]

    def _test_users(self) -> np.ndarray:
        """(C,) users with a test rating, and an item that they did not rate. Raises InputError if there is none."""
        known, positive = self.lists("train", "validation", "test"), self.lists("test")
        users = np.flatnonzero((positive.count > 0) & (known.count < self.n))
        if not len(users):
            raise InputError(f"every test user has rated all {self.n} items: there is nothing to rank against")
        return users

    def _fits(self) -> bool:
        """Do all frames fit the device, with as much again to work in? A CPU's memory is the system's to manage."""
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(self.data.frame_count[self.split.items].sum()) * self.data.dim * 4 < free // 2

    def _read(self, items: np.ndarray) -> Frames:
        """Standardised frames of items (n,) from the store, an item at a time."""
        numbers = self.split.items[items]
        start = np.concatenate([[0], np.cumsum(self.data.frame_count[numbers])])
        out = torch.empty(int(start[-1]), self.data.dim, device=self.device)
        filled = 0
        for vectors in self.data.vectors(numbers):
            out[filled : filled + len(vectors)] = ((torch.from_numpy(vectors) - self.mean) / self.scale).to(self.device)
            filled += len(vectors)
        return Frames(out, integers(start, self.device))

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream])


def chunks(numbers: np.ndarray) -> list[np.ndarray]:
    """Users, or items, (n,) in runs of `AT_ONCE`."""
    return [numbers[i : i + AT_ONCE] for i in range(0, len(numbers), AT_ONCE)]
