"""What advisers of next videos share: a user's watches out of the tables, as a history, and answers out of scores."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from reelmill.models.core.advice import Adviser, Answer, Question, meant
from reelmill.models.data.arrays import codes
from reelmill.models.data.events import rating_values
from reelmill.models.data.scale import Scale
from reelmill.models.data.vectors import usable
from reelmill.models.protocols.next_videos.data import KINDS
from reelmill.models.protocols.next_videos.history import Past, Stream
from reelmill.storage.errors import InputError


def watches(question: Question, videos: list[str]) -> tuple[torch.Tensor, torch.Tensor, dict[str, int]]:
    """Video and time (W,) of the user's first watch of each of these videos, in order of time, then of video; and
    counts of what is left out."""
    events = question.events("video_id", "time", "value", kinds=KINDS)
    if Scale.says_no_in(question.root):
        events = events.filter(pa.array(~(rating_values(events) <= 0)))
    dated = events.filter(pc.is_valid(events["time"]))
    row = codes(dated["video_id"], videos)
    ms, foreign = dated["time"].cast(pa.int64()).to_numpy(), row < 0
    left_out = {
        "watches_undated": events.num_rows - dated.num_rows,
        "watches_of_videos_not_trained_on": int(foreign.sum()),
    }
    order = np.lexsort((ms, row))
    order = order[np.diff(row[order], prepend=-2) != 0]
    order = order[row[order] >= 0]
    order = order[np.lexsort((row[order], ms[order]))]
    return torch.from_numpy(row[order]), torch.from_numpy(ms[order]), left_out


def posts(question: Question, topics: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, int]]:
    """Topic and time (P,) of the user's posts in the store of the role `posts`, none of an unnamed user; and counts of
    what is left out."""
    none = torch.zeros(0, dtype=torch.long)
    store = question.store("posts", topics)
    if question.user is None or question.user not in store:
        return none, none, {}
    block = store.read(question.user)
    kept = usable(block)
    topic, ms = block.features[kept].argmax(axis=1).astype(np.int64), block.start_ms[kept].astype(np.int64)
    return torch.from_numpy(topic), torch.from_numpy(ms), {"posts_without_topic": int((~kept).sum())}


def past_of(what: torch.Tensor, ms: torch.Tensor, now: torch.Tensor) -> Past:
    """A history of one row: videos or topics (W,) and their times before a moment ()."""
    one = torch.zeros(1, dtype=torch.long)
    return Stream(torch.zeros_like(what), ms, what, 1).until(one, now[None])


class VideosAdviser(Adviser):
    """Ranks the videos of the training by one score each. A recommender's own adviser computes the scores, and says in
    `why` what they are made of."""

    how: str
    """What represents the user, in words."""
    known: bool
    """Whether that is of this very user."""
    scores: torch.Tensor
    """(N,)"""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.videos = question.fitted.identities["videos"]
        video, ms, self.left_out = watches(question, self.videos)
        self.past = past_of(video, ms, ms.max() + 1 if len(ms) else torch.tensor(0))
        """The watches of the user."""
        self.unwatched = torch.ones(len(self.videos), dtype=torch.bool)
        self.unwatched[self.past.member] = False

    def of_video(self, video: str) -> Answer:
        """The score of this video, and its rank among those not watched."""
        if video not in self.videos:
            raise InputError(
                f"{video!r} is not among the {len(self.videos):,} videos that run {self.question.run} was trained on"
                f"{meant(video, self.videos)}; {self.question.fitted.name} knows videos by nothing else: fit again to "
                "add more"
            )
        row = self.videos.index(video)
        rank = 1 + int((self.scores[self.unwatched] > self.scores[row]).sum())
        return self._answer([row], {"rank_among_unwatched": rank, "watched": not bool(self.unwatched[row])})

    def of_all(self) -> Answer:
        """The videos of highest score, none that the user has watched."""
        left = self.unwatched.nonzero()[:, 0]
        if not len(left):
            every = f"all {len(self.videos)} videos of run {self.question.run}"
            raise InputError(f"{self.question.who} has watched {every}: fit again on more videos")
        best = self.scores[left].argsort(descending=True, stable=True)[: self.question.top]
        return self._answer(left[best].tolist(), {})

    def why(self, row: int) -> dict[str, Any]:
        """What the score of a video is made of."""
        raise NotImplementedError

    def _answer(self, rows: list[int], about: dict[str, Any]) -> Answer:
        recommended: list[dict[str, Any]] = [
            {"rank": rank + 1, "video_id": self.videos[row], "score": float(self.scores[row])}
            for rank, row in enumerate(rows)
        ]
        if self.question.why:
            for one, row in zip(recommended, rows, strict=True):
                one["why"] = self.why(row)
        return Answer(
            "video", self.known, self.how, recommended, int(self.unwatched.sum()), self.left_out, [], about
        )  # fmt: skip
