"""SCA of the Dynamic RNN's table 2: "a typical cross-OSN video recommendation method, by transferring users' tweet
profiles", which is to "embed the cross-OSN association in a transfer matrix" (stated by the paper).

The journal version (Yan et al., TOMM 2016; its abstract was read, the article was not) has two stages, the transfer of
preferences and their integration with observed behaviour; a user without watches has the first alone. Our resolution:
t_a is the share of each topic in a user's posts of the known months, y_a the mean mixture of topics of the videos that
a training user watched, and

    W = argmin Σ_a |t_a W − y_a|² + λ |W|² = (TᵀT + λ)⁻¹ TᵀY,    score(u, i) = cos(t_u W, m_i)

with m_i the video's mixture, and λ by validation. With `space="factors"`, y_a are the factors of a training user's
watches (`core.als`) and the score is t_u W · v_i. The conference version learns W inside a factorisation of watches
(commonly known, not read).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.baselines.posts import PostsAdviser, PostsTask, profiles
from reelmill.models.baselines.sca import SCASettings
from reelmill.models.core import als, sparse
from reelmill.models.core.advice import WHY
from reelmill.models.core.base import ClosedForm
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import Past
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Batch:
    """The training users who posted and watched."""

    posts: Tensor
    """(U, topics of posts) t"""
    watches: Tensor
    """(U, D) y"""


class SCA(ClosedForm):
    """W, and what the N videos are compared by."""

    def __init__(self, settings: SCASettings, videos: int, post_topics: int, dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.sizes = {"videos": videos, "post_topics": post_topics, "dim": dim}
        self.passes = len(settings.weights)
        self.transfer: Tensor
        self.videos: Tensor
        self.tried: Tensor
        self.register_buffer("transfer", torch.zeros(post_topics, dim))
        self.register_buffer("videos", torch.zeros(videos, dim))
        self.register_buffer("tried", torch.zeros((), dtype=torch.long))

    def solve(self, batch: Batch) -> dict[str, Tensor]:
        """W for the next λ; the mean squared error, and λ."""
        weight = self.settings.weights[int(self.tried)]
        posts, watches = batch.posts.double(), batch.watches.double()
        gram = posts.T @ posts + weight * torch.eye(posts.shape[1], dtype=posts.dtype, device=posts.device)
        self.transfer.copy_(torch.linalg.solve(gram, posts.T @ watches))
        self.tried += 1
        error = (posts @ self.transfer.double() - watches).square().sum(1).mean()
        return {"loss": error, "l2": torch.tensor(weight)}

    @torch.no_grad()
    def score(self, posted: Past) -> Tensor:
        """(R, N) of all videos for R pasts of posts."""
        wanted = profiles(posted, self.sizes["post_topics"]) @ self.transfer
        if self.settings.space == "factors":
            return wanted @ self.videos.T
        return F.normalize(wanted) @ F.normalize(self.videos).T


class SCATask(PostsTask):
    """The training users with posts and with watches in the space are one batch."""

    name = "sca"
    settings: SCASettings

    def __init__(self, data: Histories, settings: SCASettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        mixture = self.data.mixture[self.split.videos]
        there = mixture.any(axis=1)
        if there.any() and not np.ptp(mixture[there], axis=0).any():
            raise InputError("the mixture of topics is the same for all videos; extract the store of topics anew")
        watches = self.training_watches()
        if settings.space == "topics":
            self.videos = torch.from_numpy(mixture).to(device)
            total = sparse.product(watches, self.videos)
            self.wanted = total / total.sum(1, keepdim=True).clamp(min=torch.finfo(total.dtype).tiny)
        else:
            generator, weights = torch.Generator().manual_seed(settings.seed), (settings.alpha, settings.factors_l2)
            found = als.factorise(watches, settings.dim, *weights, settings.sweeps, generator)
            self.videos, self.wanted = found.items, found.users
        self.posts = self.profiles(self.trained)
        self.usable = self.posts.any(1) & self.wanted.any(1)
        if not self.usable.any():
            raise InputError("no training user has both posts and watched videos with topics; extract more")

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        return {**super().counts, "train_users_without_posts_or_topics": int((~self.usable).sum())}

    def model(self, generator: torch.Generator) -> SCA:
        model = SCA(self.settings, self.n, self.data.post_topics, self.videos.shape[1])
        model.videos.copy_(self.videos)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        yield Batch(self.posts[self.usable], self.wanted[self.usable])


class SCAAdviser(PostsAdviser):
    """Ranks videos by the topics that go with what the user posts."""

    @torch.no_grad()
    def why(self, row: int) -> dict[str, Any]:
        """The topics of posts of largest part in the score."""
        model = cast(SCA, self.question.fitted.model)
        own = profiles(self.posted, model.sizes["post_topics"])[0]
        wanted, video = own @ model.transfer, model.videos[row]
        length = 1.0 if model.settings.space == "factors" else float(wanted.norm() * video.norm())
        parts = own * (model.transfer @ video) / max(length, 1e-12)
        best = parts.argsort(descending=True, stable=True)[:WHY].tolist()
        return {"topics_of_posts": [{"topic": topic, "part": float(parts[topic])} for topic in best]}
