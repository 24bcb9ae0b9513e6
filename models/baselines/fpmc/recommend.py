"""Recommendations of FPMC: the next videos, by all that the user has watched and by what they watched last.

Like the Dynamic RNN it has no parameters of single users: it reads their watches from the tables, and recommends only
the videos that it was trained on.
"""

from typing import Any, cast

import torch

from reelmill.models.baselines.fpmc.model import FPMC
from reelmill.models.core.advice import Adviser, Answer, Question, meant
from reelmill.models.protocols.next_videos.recommend import past_of, watches
from reelmill.storage.errors import InputError

NOTHING = "no known watch; the biases b of the videos decide, which is what most users watch"


class FPMCAdviser(Adviser):
    """Ranks videos by x̂."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(FPMC, question.fitted.model)
        self.videos = question.fitted.identities["videos"]
        video, ms, self.left_out = watches(question, self.videos)
        self.past = past_of(video, ms, ms.max() + 1 if len(ms) else torch.tensor(0))
        self.known = bool(self.past.known)
        self.how = f"{len(video)} watched videos" if self.known else NOTHING
        self.scores = self.model.score(self.past)[0]
        self.fresh = torch.ones(len(self.videos), dtype=torch.bool)
        self.fresh[self.past.member] = False

    def of_video(self, video: str) -> Answer:
        """x̂ of this video, and its rank among those not watched."""
        if video not in self.videos:
            raise InputError(
                f"{video!r} is not among the {len(self.videos):,} videos that run {self.question.run} was trained on"
                f"{meant(video, self.videos)}; fpmc knows videos by nothing else: fit again to add more"
            )
        row = self.videos.index(video)
        rank = 1 + int((self.scores[self.fresh] > self.scores[row]).sum())
        return self._answer([row], {"rank_among_unwatched": rank, "watched": not bool(self.fresh[row])})

    def of_all(self) -> Answer:
        """The next videos, none that the user has watched."""
        left = self.fresh.nonzero()[:, 0]
        if not len(left):
            every = f"all {len(self.videos)} videos of run {self.question.run}"
            raise InputError(f"{self.question.who} has watched {every}: fit again on more videos")
        best = self.scores[left].argsort(descending=True, stable=True)[: self.question.top]
        return self._answer(left[best].tolist(), {})

    def _answer(self, rows: list[int], about: dict[str, Any]) -> Answer:
        recommended: list[dict[str, Any]] = [
            {"rank": rank + 1, "video_id": self.videos[row], "score": float(self.scores[row])}
            for rank, row in enumerate(rows)
        ]
        if self.question.why:
            for one, row in zip(recommended, rows, strict=True):
                one["why"] = self._parts(row)
        return Answer(
            "video", self.known, self.how, recommended, int(self.fresh.sum()), self.left_out, [], about
        )  # fmt: skip

    @torch.no_grad()
    def _parts(self, row: int) -> dict[str, float]:
        """The terms of x̂: by all watched videos, by the last basket, and b."""
        terms = self.model.user(self.past)[0] * self.model.item[row]
        liked, last = terms.split(self.model.settings.dim)
        return {"taste": float(liked.sum()), "follows": float(last.sum()), "popularity": float(self.model.bias[row])}
