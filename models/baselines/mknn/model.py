"""MKNN of the Dynamic RNN's table 2: what the users with the most similar posts watched.

The paper says that neighbours are found "from their tweet behaviors" (stated by the paper, without an equation). Our
resolution: the cosine between the shares of topics in two users' posts of the known months, t_u and t_b (the paper's
eq. 2 with λ = 0), the k = 50 training users b of largest cosine, and

    score(u, i) = Σ_b cos(t_u, t_b) [b watched i].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.baselines.mknn import MKNNSettings
from reelmill.models.baselines.next_videos import weighted_watches
from reelmill.models.baselines.posts import PostsAdviser, PostsTask, profiles
from reelmill.models.core import sparse
from reelmill.models.core.base import ClosedForm
from reelmill.models.protocols.next_videos.history import Past


@dataclass(frozen=True)
class Batch:
    """All training users."""

    profile: Tensor
    """(U, topics)"""
    watches: Tensor
    """(U, N) CSR of ones."""


class MKNN(ClosedForm):
    """U users with W watches of N videos, and a share for each topic of posts."""

    def __init__(self, settings: MKNNSettings, videos: int, users: int, watches: int, post_topics: int) -> None:
        super().__init__()
        self.sizes = {"videos": videos, "users": users, "watches": watches, "post_topics": post_topics}
        self.neighbours = min(settings.neighbours, users)
        self.profile: Tensor
        self.start: Tensor
        self.video: Tensor
        self.register_buffer("profile", torch.zeros(users, post_topics))
        self.register_buffer("start", torch.zeros(users + 1, dtype=torch.long))
        self.register_buffer("video", torch.zeros(watches, dtype=torch.long))

    def solve(self, batch: Batch) -> dict[str, Tensor]:
        """Keep the users."""
        self.profile.copy_(batch.profile)
        self.start.copy_(batch.watches.crow_indices())
        self.video.copy_(batch.watches.col_indices())
        return {"users_with_posts": self.profile.any(1).double().mean()}

    @torch.no_grad()
    def score(self, posted: Past) -> Tensor:
        """(R, N) of all videos for R pasts of posts."""
        return weighted_watches(self.cosine(posted), self.watches, self.neighbours)

    @property
    def watches(self) -> Tensor:
        """(U, N) CSR of ones."""
        return sparse.csr(self.start, self.video, self.profile.new_ones(len(self.video)), self.sizes["videos"])

    def cosine(self, posted: Past) -> Tensor:
        """(R, U) of R pasts of posts and the training users; zero where one of the two has not posted."""
        own = profiles(posted, self.sizes["post_topics"])
        return F.normalize(own) @ F.normalize(self.profile).T


class MKNNTask(PostsTask):
    """The training users are one batch."""

    name = "mknn"
    settings: MKNNSettings

    def model(self, generator: torch.Generator) -> MKNN:
        watches = int((self.split.watched[0] < self.split.train).sum())
        return MKNN(self.settings, self.n, self.split.train, watches, self.data.post_topics).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        yield Batch(self.profiles(self.trained), self.training_watches())


class MKNNAdviser(PostsAdviser):
    """Ranks videos by who else posts about the same."""

    def why(self, row: int) -> dict[str, Any]:
        """How many of the most similar users watched the video, and the largest cosine among them."""
        model = cast(MKNN, self.question.fitted.model)
        cosine, nearest = model.cosine(self.posted)[0].topk(model.neighbours)
        watched = torch.isin(nearest, sparse.row_of(model.watches)[model.video == row])
        return {"similar_users_who_watched": int(watched.sum()), "cosine": float((cosine * watched).max())}
