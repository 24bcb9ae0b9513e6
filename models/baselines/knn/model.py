"""KNN of the Dynamic RNN's table 1: videos by the similarity of their watchers, or users by that of their watches.

The paper calls it "a typical item-based collaborative filtering" and cites Sarwar et al. (WWW 2001), while its
sentence speaks of the user's "most related users" (both stated by the paper). Our resolution: item-based, with the
cosine between sets of watchers, the k = 50 most similar videos of each, and

    score(u, i) = Σ_{l watched by u} sim(l, i),    i among the neighbours of l.

`user_based` compares users: the k training users b of largest cosine between sets of watches, and the score
Σ_b sim(u, b) over those who watched i. Cosine and sum are commonly known; `implicit` is the oracle of the tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reelmill.models.baselines.knn import KNNSettings
from reelmill.models.baselines.next_videos import Counted, WatchesAdviser, WatchesTask, unit_rows, weighted_watches
from reelmill.models.core import sparse
from reelmill.models.core.advice import WHY
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Some videos to find the neighbours of."""

    first: int
    """Row of the first one; the others follow it."""
    watchers: Tensor
    """(B, U) CSR of unit rows."""
    everyone: Tensor
    """(U, N) CSR, its columns at unit length."""


class VideoNeighbours(Counted):
    """N videos, each with its k most similar ones."""

    def __init__(self, videos: int, neighbours: int) -> None:
        super().__init__()
        self.sizes = {"videos": videos, "neighbours": neighbours}
        self.neighbour: Tensor
        self.similarity: Tensor
        self.register_buffer("neighbour", torch.zeros(videos, neighbours, dtype=torch.long))
        self.register_buffer("similarity", torch.zeros(videos, neighbours))

    def solve(self, batch: Batch) -> dict[str, Tensor]:
        """The neighbours of the batch's videos, in ascending order of their numbers."""
        cosine = sparse.product(batch.watchers, batch.everyone)
        rows = torch.arange(len(cosine), device=cosine.device)
        cosine[rows, rows + batch.first] = -1  # no video is its own neighbour
        similarity, neighbour = cosine.topk(self.neighbour.shape[1])
        neighbour, order = neighbour.sort()
        here = slice(batch.first, batch.first + len(cosine))
        self.neighbour[here], self.similarity[here] = neighbour, similarity.gather(1, order)
        return {"similarity": similarity.mean()}

    def of_watches(self, watched: Tensor) -> Tensor:
        """(R, N) Σ_l sim(l, i) over the watches (R, N), CSR."""
        count, k = self.neighbour.shape
        start = torch.arange(0, count * k + 1, k, device=watched.device)
        similar = sparse.csr(start, self.neighbour.flatten(), self.similarity.flatten(), count)
        return sparse.product(watched, similar)

    def parts(self, watched: Tensor, video: int) -> list[tuple[int, float]]:
        """The watched videos (W,) that have this one among their neighbours, with the similarity; the largest first."""
        found = ((self.neighbour[watched] == video) * self.similarity[watched]).sum(1)
        best = found.argsort(descending=True, stable=True)
        return [(int(watched[n]), float(found[n])) for n in best.tolist() if found[n] > 0]


class UserNeighbours(Counted):
    """U users with W watches of N videos."""

    def __init__(self, videos: int, neighbours: int, users: int, watches: int) -> None:
        super().__init__()
        self.sizes = {"videos": videos, "neighbours": neighbours, "users": users, "watches": watches}
        self.start: Tensor
        self.video: Tensor
        self.register_buffer("start", torch.zeros(users + 1, dtype=torch.long))
        self.register_buffer("video", torch.zeros(watches, dtype=torch.long))

    def solve(self, batch: Tensor) -> dict[str, Tensor]:
        """Keep the watches (U, N), CSR."""
        self.start.copy_(batch.crow_indices())
        self.video.copy_(batch.col_indices())
        return {"watches": self.start.diff().double().mean()}

    @property
    def watches(self) -> Tensor:
        """(U, N) CSR of ones."""
        ones = torch.ones(len(self.video), device=self.video.device)
        return sparse.csr(self.start, self.video, ones, self.sizes["videos"])

    def of_watches(self, watched: Tensor) -> Tensor:
        """(R, N) Σ_b sim(u, b) over the k users b of largest cosine with each row (R, N), CSR."""
        cosine = sparse.product(unit_rows(watched), sparse.transposed(unit_rows(self.watches)))
        return weighted_watches(cosine, self.watches, self.sizes["neighbours"])


def batches(watches: Tensor, videos: int) -> Iterator[Batch]:
    """Of all videos of watches (U, N), CSR, so many at a time."""
    watchers = unit_rows(sparse.transposed(watches))
    everyone = sparse.transposed(watchers)
    for number, some in enumerate(sparse.slices(watchers, videos)):
        yield Batch(number * videos, some, everyone)


def empty(settings: KNNSettings, **sizes: int) -> VideoNeighbours | UserNeighbours:
    """A model to be filled by a fit or a checkpoint."""
    return UserNeighbours(**sizes) if settings.user_based else VideoNeighbours(**sizes)


class KNNTask(WatchesTask):
    """The watches to learn from; for `user_based` those of the training users."""

    name = "knn"
    settings: KNNSettings

    def model(self, generator: torch.Generator) -> VideoNeighbours | UserNeighbours:
        if self.n < 2:
            raise InputError("there is only one video, which has no neighbours; ingest more")
        k, users, watches = self.settings.neighbours, self.split.train, int(self.training.sum())
        if self.settings.user_based:
            return UserNeighbours(self.n, min(k, users), users, watches).to(self.device)
        return VideoNeighbours(self.n, min(k, self.n - 1)).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        if self.settings.user_based:
            yield next(sparse.slices(self.known, self.split.train))
            return
        yield from batches(self.known, self.settings.batch)


class KNNAdviser(WatchesAdviser):
    """Ranks videos by what the user has watched."""

    def why(self, row: int) -> dict[str, Any]:
        """The watched videos that the score comes from, or that it comes from similar users."""
        if isinstance(self.model, VideoNeighbours):
            parts = self.model.parts(self.past.member, row)[:WHY]
            return {"similar_watched": [{"video_id": self.videos[video], "cosine": value} for video, value in parts]}
        return {"cosine_of_similar_users": float(self.scores[row])}
