"""What the systems of the Dynamic RNN's table 2 share: a task that knows users by their posts, and their topics."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.baselines.cold_start import ColdStartSettings
from reelmill.models.baselines.next_videos import ScoresTask
from reelmill.models.core import sparse
from reelmill.models.core.advice import Question
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.history import Past
from reelmill.models.protocols.next_videos.recommend import VideosAdviser, past_of, posts
from reelmill.storage.errors import InputError


class PostsTask(ScoresTask):
    """The protocol of the Dynamic RNN's cross network: users are known by their posts of the known months."""

    settings: ColdStartSettings

    def __init__(self, data: Histories, settings: ColdStartSettings, device: torch.device) -> None:
        if len(data.post_topic) and not np.ptp(data.post_topic):
            raise InputError("the topic of a post is the same for all posts; extract the store of posts anew")
        super().__init__(data, settings, device)

    @property
    def trained(self) -> np.ndarray:
        """(U,) the training users."""
        return np.arange(self.split.train)

    def training_watches(self) -> Tensor:
        """(U, N) CSR: 1 for each watch of a training user, of the whole year."""
        user, video, _ = self.split.watched
        mine = user < self.split.train
        return sparse.of_pairs(self._tensor(user[mine]), self._tensor(video[mine]), None, self.split.train, self.n)

    def scores(self, model: Any, users: np.ndarray) -> Tensor:
        return model.score(self._pasts(users)[1])

    def profiles(self, users: np.ndarray) -> Tensor:
        """(n, topics) of users (n,), from their posts of the known months."""
        return profiles(self._pasts(users)[1], self.data.post_topics)

    def _known(self) -> np.ndarray:
        return self._pasts(self.test)[1].known.cpu().numpy()


def profiles(posted: Past, topics: int) -> Tensor:
    """(R, topics) the share of each topic in R pasts of posts (eq. 2 with λ = 0); zero without a post."""
    return posted.mean(torch.eye(topics, device=posted.member.device), 0.0)


class PostsAdviser(VideosAdviser):
    """Ranks videos by the topics of what the user has posted."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        model: Any = question.fitted.model
        topic, ms, left_out = posts(question, model.sizes["post_topics"])
        self.left_out |= left_out
        if not len(topic):
            raise InputError(
                f"{question.who} has posted nothing, as far as the store of posts says, and {question.run} knows users "
                "by nothing else; ingest and extract posts of this user, or name a run of another recommender"
            )
        self.posted = past_of(topic, ms, ms.max() + 1)
        self.known, self.how = True, f"{len(topic)} posts"
        self.scores = model.score(self.posted)[0]
