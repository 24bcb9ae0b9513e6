"""The protocol of the Dynamic RNN (§3.2, §4.2), whatever model makes the lists.

Users are divided, so that no test user is in the training. Of a test user the first `known_months` are known; the rest
of the year is the truth.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.metrics import evaluate
from reelmill.models.metrics.case_values import CaseValues
from reelmill.models.protocols.next_videos.cases import by_user, f_score, of_scores
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import Past, Stream
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.storage.errors import InputError

AT_ONCE = 256
"""Users who get their lists at a time."""


class HistoryTask:
    """Split, cases and tables on one device. A model's own task adds batches and scores."""

    watch = "f"
    settings: HistorySettings

    def __init__(self, data: Histories, settings: HistorySettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        self.split = by_user(data, settings, np.random.default_rng(settings.seed))
        self.n = len(self.split.videos)
        users = len(self.split.users)
        self.watched, self.posted = (
            Stream(self._tensor(who), self._tensor(ms), self._tensor(what), users)
            for who, what, ms in (self.split.watched, self.split.posted)
        )
        self.last = np.full(users, np.iinfo(np.int64).min)
        np.maximum.at(self.last, self.split.watched[0], self.split.watched[2])
        if not (self.last[: self.split.train] >= self.split.moments[0]).any():
            raise InputError("no training user watched anything after the first session; ingest more, or set end")
        mine = self.split.watched[0] < self.split.train
        self.popularity = np.bincount(self.split.watched[1][mine], minlength=self.n).astype(np.float64)
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
        return {
            **asdict(self.data.counts),
            **self.split.counts,
            "videos_nobody_trains_on": int((self.popularity == 0).sum()),
            "validation_users_without_truth": self.lost_validation,
            "test_cases": len(self.test),
            "test_users_without_truth": self.lost_test,
            "test_users_of_whom_nothing_is_known": int((~self._known()).sum()),
        }

    def identities(self) -> dict[str, list[str]]:
        """The videos behind the model's rows; there are no users among them."""
        return {"videos": [self.data.videos[v] for v in self.split.videos]}

    def tables(self, values: dict[str, np.ndarray]) -> dict[str, Any]:
        """Rows of these rankings {name: (C, 2)}, as `ranked` gives them, and of the floors."""

        def alike(row: np.ndarray) -> np.ndarray:
            """The same scores (N,) for all."""
            return self.ranked(lambda some: np.broadcast_to(row, (len(some), self.n)), self.test)

        k = self.settings.list_length
        floors = {"random": alike(np.zeros(self.n)), "most popular": alike(self.popularity)}
        metrics = [f"precision@{k}", f"recall@{k}"]
        rows = evaluate.rows(floors | values, metrics, self.settings.seed, {f"f@{k}": f_score})
        users = [self.data.users[u] for u in self.split.users[self.test]]
        truth = tuple(self._truth(some) for some in chunks(self.test)), np.array(self.identities()["videos"])
        cases = CaseValues("next videos", users, None, metrics, floors | values, (*truth[0], truth[1]))
        return {"rows": sorted(rows, key=lambda row: row["metric"] in metrics), "cases": [cases]}

    def ranked(self, scores: Callable[[np.ndarray], np.ndarray], users: np.ndarray) -> np.ndarray:
        """Precision and recall (C, 2), against what users (C,) watch after the known months, of the videos of highest
        score, those known to be watched left out. `scores`: users (n,) → (n, N) of all videos."""
        found = [np.zeros((0, 2))]
        for some in chunks(users):
            past, closed = self._pasts(some)[0], np.zeros((len(some), self.n), bool)
            closed[past.row.cpu().numpy(), past.member.cpu().numpy()] = True
            found.append(of_scores(scores(some), self._truth(some), closed, self.settings.list_length))
        return np.concatenate(found)

    def _known(self) -> np.ndarray:
        """(C,) bool: has the test user a known event?"""
        return self._pasts(self.test)[0].known.cpu().numpy()

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

    def _tensor(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers, np.int64)).to(self.device)


def figures(measured: np.ndarray) -> dict[str, float]:
    """Validation figures of cases (C, 2), as `ranked` gives them; none of none."""
    if not len(measured):
        return {}
    both = measured.mean(axis=0)
    return {"f": float(f_score(both)), "precision": float(both[0]), "recall": float(both[1])}


def chunks(users: np.ndarray) -> list[np.ndarray]:
    """Users (n,) in runs of `AT_ONCE`."""
    return [users[i : i + AT_ONCE] for i in range(0, len(users), AT_ONCE)]
