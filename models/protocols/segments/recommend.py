"""What advisers of segments share: a ranking of one video's segments, or of all videos that a user has not marked, by a
score of their features; and the liked segments that are nearest to what is recommended."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, Scored, block_of, clock, score_rows
from reelmill.models.core.standardise import FeatureModel
from reelmill.models.data.vectors import usable

TOUCHES = ("rating", "highlight", "watch")
"""Kinds of events that are positives of whole videos."""
PLACE = ("segment_index", "start_ms", "stop_ms", "clock")
"""Left out of the rows of whole videos."""


class SegmentAdviser(Adviser):
    """Ranks segments by a score of their features. A recommender's own adviser says what represents the user, and
    computes the scores. A run on a store of whole videos recommends these."""

    known: bool
    """Whether the ranking is of this very user."""
    how: str
    """What represents the user, in words."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        model = question.fitted.model
        assert isinstance(model, FeatureModel)
        self.standardise = model.standardise
        self.store = question.store("features", model.sizes["features"])
        self.whole = self.store.spec.rows == "video"

    def scores(self, features: Tensor) -> Tensor:
        """(n,) of standardised features (n, dim)."""
        raise NotImplementedError

    def embed(self, features: Tensor) -> Tensor:
        """(n, D) of standardised features (n, dim): where near segments are alike to the model."""
        return features

    def of_video(self, video: str) -> Answer:
        """The best segments of a video, marked ones too."""
        block_of(self.store, video)
        return self._answer([video], {})

    def of_all(self) -> Answer:
        """The best segments of all videos with features that the user has not marked."""
        kinds = TOUCHES if self.whole else ["highlight"]
        marked = set(self.question.events("video_id", kinds=kinds)["video_id"].to_pylist())
        marked |= set(self.question.labels()["video_id"].to_pylist())
        videos = self.question.unmarked(self.store, marked)
        return self._answer(videos, {"videos_marked": len(self.store) - len(videos)})

    def explain(self, rows: list[dict[str, Any]], found: Scored) -> None:
        """Add `why` to each row: the liked segments that are nearest by cosine, other than itself."""
        liked = self.liked()
        cosine = self._directions(rows) @ self._directions(liked).T if liked else torch.zeros(len(rows), 0)
        for row, values in zip(rows, cosine, strict=True):
            near = values.argsort(descending=True, stable=True).tolist()
            near = [n for n in near if _key(liked[n]) != _key(row)][:WHY]
            row["why"] = {"nearest_liked": [{**liked[n], "cosine": float(values[n])} for n in near]}

    def liked(self, without: Collection[str] = ()) -> list[dict[str, Any]]:
        """The segments, or whole videos, that the user likes and that have usable features, except of some videos."""
        if self.whole:
            touched = set(self.question.events("video_id", kinds=TOUCHES)["video_id"].to_pylist())
            there = sorted(touched & set(self.store.keys()) - set(without))
            return [{"video_id": video} for video in there if usable(self.store.read(video)).any()]
        labels, found = self.question.labels(), []
        for video in sorted(set(labels["video_id"].to_pylist()) & set(self.store.keys()) - set(without)):
            block = self.store.read(video)
            wanted = labels.filter(pc.equal(labels["video_id"], video))["segment_index"].to_numpy()
            for i in np.flatnonzero(usable(block) & np.isin(block.segment_index, wanted)).tolist():
                when = clock(block.start_ms[i], block.stop_ms[i])
                found.append({"video_id": video, "segment_index": int(block.segment_index[i]), "clock": when})
        return found

    def features(self, rows: list[dict[str, Any]]) -> Tensor:
        """Standardised features (n, dim) of rows."""
        vectors = self.store.rows([_key(row) for row in rows]).astype(np.float32, copy=False)
        return self.standardise(torch.from_numpy(vectors))

    @torch.no_grad()
    def _answer(self, videos: list[str], left_out: dict[str, int]) -> Answer:
        found = score_rows(self.store, videos, self._scores)
        rows = found.rows(found.best(self.question.top))
        if self.question.why and rows:
            self.explain(rows, found)
        if self.whole:
            rows = [{name: value for name, value in row.items() if name not in PLACE} for row in rows]
        left_out = {**left_out, "videos_without_data": found.empty}
        return Answer("video" if self.whole else "segment", self.known, self.how, rows, len(found), left_out)

    def _scores(self, vectors: np.ndarray) -> np.ndarray:
        """(n,) of features (n, dim) as in the store."""
        return self.scores(self.standardise(torch.from_numpy(vectors))).numpy()

    def _directions(self, rows: list[dict[str, Any]]) -> Tensor:
        """`embed` (n, D) of rows at length 1."""
        return F.normalize(self.embed(self.features(rows)), dim=-1)


class LikesAdviser(SegmentAdviser):
    """For a model that knows a user by the segments that they like. They are read from the tables, so that they are
    those of today, and that an unknown user with likes is known as well."""

    history: Tensor
    """(liked, dim) standardised features."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self._remember("")

    def of_video(self, video: str) -> Answer:
        """The best segments of a video, marked ones too. What the user marked in it is no part of their history, as in
        training."""
        self._remember(video)
        return super().of_video(video)

    def _remember(self, video: str) -> None:
        liked = self.liked(without=[video])
        self.known = bool(liked)
        if liked:
            self.history, self.how = self.features(liked), f"{len(liked)} liked segments"
        else:
            self.history = torch.zeros(0, self.store.spec.dim)
            self.how = f"{self.question.who} likes no segment with features elsewhere: the history is empty"


def _key(row: dict[str, Any]) -> tuple[str, int]:
    """Its key in the store; that of a whole video has index 0."""
    return row["video_id"], row.get("segment_index", 0)
