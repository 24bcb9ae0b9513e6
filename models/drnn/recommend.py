"""Recommendations of the Dynamic RNN: the next videos, by what the user has watched and posted until now.

The model has no parameters of single users: it reads their watches and posts from the tables and the store of posts. It
recommends only the videos that it was trained on, one output each.
"""

from typing import Any, cast

import pyarrow.compute as pc
import torch
import torch.nn.functional as F

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, meant
from reelmill.models.drnn.model import DRNN
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.protocols.next_videos.recommend import past_of, posts, watches
from reelmill.storage.errors import InputError

ONE_AFTER_ANOTHER = "a score is log P of the video after all before it were watched too"
AT_ONCE = "a score is log P that the video comes next"


class DRNNAdviser(Adviser):
    """Next videos one after another (§3.4), or log P of one (eq. 8)."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model, self.settings = cast(DRNN, question.fitted.model), cast(DRNNSettings, question.fitted.settings)
        self.videos = question.fitted.identities["videos"]
        video, watched_ms, self.left_out = watches(question, self.videos)
        topic, posted_ms = self._posts()
        everything = torch.cat([watched_ms, posted_ms])
        now = everything.max() + 1 if len(everything) else torch.tensor(0)
        self.watched, self.posted = past_of(video, watched_ms, now), past_of(topic, posted_ms, now)
        self.known = bool(self.watched.known | self.posted.known)
        self.how = self._how()

    def of_video(self, video: str) -> Answer:
        """How probable this video is to be the next one, and its rank among those not watched."""
        if video not in self.videos:
            raise InputError(
                f"{video!r} is not among the {len(self.videos):,} videos that run {self.question.run} was trained on"
                f"{meant(video, self.videos)}; its soft-max has one output for each of these: fit again to add more"
            )
        row = self.videos.index(video)
        chances = self.model.score(self.watched, self.posted)[0]
        fresh = torch.ones_like(chances, dtype=torch.bool)
        fresh[self.watched.member] = False
        rank = 1 + int((chances[fresh] > chances[row]).sum())
        about = {"rank_among_unwatched": rank, "watched": not bool(fresh[row])}
        return self._answer([row], chances[[row]], int(fresh.sum()), [AT_ONCE], about)

    def of_all(self) -> Answer:
        """The next videos, none that the user has watched."""
        rows, chances = self.model.recommend(self.watched, self.posted, self.question.top)
        found = rows[0] >= 0
        unwatched = len(self.videos) - len(self.watched.member)
        if not found.any():
            every = f"all {len(self.videos)} videos of run {self.question.run}"
            raise InputError(f"{self.question.who} has watched {every}: fit again on more videos")
        return self._answer(rows[0][found].tolist(), chances[0][found], unwatched, [ONE_AFTER_ANOTHER], {})

    def _answer(
        self, rows: list[int], chances: torch.Tensor, candidates: int, notes: list[str], about: dict[str, Any]
    ) -> Answer:
        recommended: list[dict[str, Any]] = [
            {"rank": rank + 1, "video_id": self.videos[row], "score": float(chance), "probability": float(chance.exp())}
            for rank, (row, chance) in enumerate(zip(rows, chances, strict=True))
        ]
        if self.question.why:
            for one, why in zip(recommended, self._reasons(rows), strict=True):
                one["why"] = why
        return Answer("video", self.known, self.how, recommended, candidates, self.left_out, notes, about)

    def _posts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Topic and time (P,) of the user's posts, none where the run reads no posts."""
        if not (self.settings.models_interest and self.settings.reads_posts):
            none = torch.zeros(0, dtype=torch.long)
            return none, none
        topic, ms, left_out = posts(self.question, self.model.sizes["post_topics"])
        self.left_out |= left_out
        return topic, ms

    def _how(self) -> str:
        """What the answer is computed from for this user, in words. Raises InputError if that is nothing, and the model
        needs something."""
        watched, posted = len(self.watched.member), len(self.posted.member)
        does = [f"{watched} watched videos"] if watched else []
        does += [f"{posted} posts"] if posted else []
        enough = not self.settings.models_interest or (watched and self.settings.reads_topics)
        if does and (enough or posted or self.settings.feed_history):
            return " and ".join(does)
        if not self.settings.models_interest:
            return "nothing is known of the user; the learned start is used, which is what most users watch"
        asks = {"single": "watched a video of the training", "cross": "posted"}
        missing = asks.get(self.settings.network, "watched a video of the training nor posted")
        raise InputError(
            f"{self.question.who} has not {missing}, as far as the tables and stores say"
            f"{self._meant()}: run {self.question.run} knows users by nothing else (network "
            f"{self.settings.network!r}); ingest events of this user, or name a run of another recommender"
        )

    def _meant(self) -> str:
        if self.question.user is None:
            return ""
        users = pc.unique(self.question.root.tables.read("events", ["user_id"])["user_id"]).to_pylist()
        return meant(self.question.user, users)

    def _reasons(self, rows: list[int]) -> list[dict[str, Any]]:
        """Of each video the nearest watched ones, by cosine of what the GRU gets of them, each with its weight e^{−λ
        age} / N in u (eq. 2); how much it is that a video weighs does not depend on what is recommended."""
        if not len(self.watched.member):
            return [{"nearest_watched": []} for _ in rows]
        weight = torch.exp(-self.model.decay * (self.watched.age - self.watched.age.min()))
        weight = weight / weight.sum()
        inputs = F.normalize(self.model.final_input, dim=-1)
        cosine = inputs[rows] @ inputs[self.watched.member].T
        best = cosine.argsort(dim=1, descending=True, stable=True)[:, :WHY].tolist()
        return [
            {
                "nearest_watched": [
                    {"video_id": self.videos[int(self.watched.member[n])], "cosine": float(row[n]),
                     "months_ago": float(self.watched.age[n]), "weight": float(weight[n])}
                    for n in some
                ]
            }
            for row, some in zip(cosine, best, strict=True)
        ]  # fmt: skip
