"""What the systems compared with the Dynamic RNN share: a task that ranks by the scores of a model, and the watches
that a system with rows for users or videos may learn from."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core import sparse
from reelmill.models.core.advice import Question
from reelmill.models.core.base import ClosedForm
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import Past
from reelmill.models.protocols.next_videos.recommend import VideosAdviser
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.models.protocols.next_videos.task import HistoryTask, figures
from reelmill.storage.errors import InputError


class ScoresTask(HistoryTask):
    """The protocol of the Dynamic RNN, for a system that gives each video one score: its list are the highest."""

    name: str
    """Of the recommender, and of its row."""

    def validate(self, model: Any) -> dict[str, float]:
        return figures(self._lists(model, self.validation))

    def evaluate(self, model: Any) -> dict[str, Any]:
        return self.tables({self.name: self._lists(model, self.test)})

    def scores(self, model: Any, users: np.ndarray) -> Tensor:
        """(n, N) of all videos for users (n,), from what is known of them when they are tested."""
        raise NotImplementedError

    def _lists(self, model: Any, users: np.ndarray) -> np.ndarray:
        return self.ranked(lambda some: self.scores(model, some).cpu().numpy(), users)


class WatchesTask(ScoresTask):
    """For systems that know users by their watches.

    A system with a row for each user or each video learns from the watches of the training users, and from those of the
    validation and test users within the known months; the Dynamic RNN learns from the training users alone. It sees no
    watch after the known months of anyone who is tested (our resolution: the paper does not say)."""

    def __init__(self, data: Histories, settings: HistorySettings, device: torch.device) -> None:
        if settings.cold_start:
            raise InputError(
                f"cold_start hides all watches of the test users, and {self.name} knows users by nothing else; set it "
                "to false"
            )
        super().__init__(data, settings, device)
        user, video, ms = self.split.watched
        self.training = user < self.split.train
        kept = self.training | (ms < self._known_until)
        who, what = self._tensor(user[kept]), self._tensor(video[kept])
        self.known = sparse.of_pairs(who, what, None, len(self.split.users), self.n)
        """(users, N) CSR: 1 for each watch to learn from."""

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        trained, known = int(self.training.sum()), self.known.values().numel()
        return {**super().counts, "train_watches": trained, "known_watches_of_tested_users": known - trained}

    def scores(self, model: Any, users: np.ndarray) -> Tensor:
        return model.score(self._pasts(users)[0])


class Counted(ClosedForm):
    """A closed form whose score is a function of the set of watched videos."""

    sizes: dict[str, int]

    @torch.no_grad()
    def score(self, past: Past) -> Tensor:
        """(R, N) of all videos for R pasts."""
        return self.of_watches(watches_of(past, self.sizes["videos"]))

    def of_watches(self, watched: Tensor) -> Tensor:
        """(R, N) of all videos for watches (R, N), CSR."""
        raise NotImplementedError


class WatchesAdviser(VideosAdviser):
    """Ranks videos by a score of what the user has watched."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        if not self.past.known:
            raise InputError(
                f"{question.who} has watched no video of the training, as far as the tables say, and {question.run} "
                "knows users by nothing else; ingest events of this user, or name a run of another recommender"
            )
        self.known, self.how = True, f"{len(self.past.member)} watched videos"
        self.model = cast(Counted, question.fitted.model)
        self.scores = self.model.score(self.past)[0]


def watches_of(past: Past, videos: int) -> Tensor:
    """(R, N) CSR: 1 for each video of a past."""
    return sparse.of_pairs(past.row, past.member, None, len(past.start) - 1, videos)


def weighted_watches(similarity: Tensor, watches: Tensor, neighbours: int) -> Tensor:
    """(R, N) Σ_b sim(r, b) watched_b(i), over the most similar users b of each row, of similarities (R, U) and watches
    (U, N), CSR."""
    value, user = similarity.topk(neighbours)
    user, order = user.sort()
    start = torch.arange(0, user.numel() + 1, user.shape[1], device=user.device)
    return sparse.product(sparse.csr(start, user.flatten(), value.gather(1, order).flatten(), len(watches)), watches)


def unit_rows(watches: Tensor) -> Tensor:
    """The rows of a CSR matrix at unit length."""
    row = sparse.row_of(watches)
    square = torch.zeros(len(watches), device=row.device).index_add_(0, row, watches.values().square())
    values = watches.values() / square.sqrt()[row]
    return sparse.csr(watches.crow_indices(), watches.col_indices(), values, watches.shape[1])
