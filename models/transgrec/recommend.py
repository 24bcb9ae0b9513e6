"""Recommendations of TransGRec: segments by eq. 18, of new videos like of old ones, since all go through T. A run on a
store of whole videos recommends these."""

from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, block_of, clock, score_rows
from reelmill.models.data.vectors import usable
from reelmill.models.transgrec.model import TransGRec

TOUCHES = ("rating", "highlight", "watch")
"""Kinds of events that are positives of whole videos."""
PLACE = ("segment_index", "start_ms", "stop_ms", "clock")
"""Left out of the rows of whole videos."""


class TransGRecAdviser(Adviser):
    """Ranks segments by u·v̂. An unknown user gets the mean of the training's users, which ranks by what they like on
    average."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(TransGRec, question.fitted.model)
        self.store = question.store("features", self.model.sizes["features"])
        self.whole = self.store.spec.rows == "video"
        users = question.fitted.identities["users"]
        self.known = question.user in users
        if self.known:
            self.u = self.model.final_users[question.fitted.row("users", str(question.user))]
            self.how = "their own embedding, from the training graph"
        else:
            self.u = self.model.final_users.mean(0)
            self.how = (
                f"{question.unknown_user(users)}; the mean of their embeddings is used: what they like on average"
            )

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

    def _answer(self, videos: list[str], left_out: dict[str, int]) -> Answer:
        found = score_rows(self.store, videos, lambda vectors: (self.u * self._embed(vectors)).sum(-1).numpy())
        rows = found.rows(found.best(self.question.top))
        if self.question.why and rows:
            self._explain(rows)
        if self.whole:
            rows = [{name: value for name, value in row.items() if name not in PLACE} for row in rows]
        left_out = {**left_out, "videos_without_data": found.empty}
        return Answer("video" if self.whole else "segment", self.known, self.how, rows, len(found), left_out)

    def _embed(self, vectors: np.ndarray) -> Tensor:
        """v̂ (n, D) of features (n, dim)."""
        return self.model.embed(self.model.standardise(torch.from_numpy(vectors)))

    def _explain(self, rows: list[dict[str, Any]]) -> None:
        """Add to each row the liked segments whose v̂ is nearest by cosine, other than itself."""
        liked = self._liked_videos() if self.whole else self._liked_segments()
        cosine = self._directions(rows) @ self._directions(liked).T if liked else torch.zeros(len(rows), 0)
        for row, values in zip(rows, cosine, strict=True):
            near = values.argsort(descending=True, stable=True).tolist()
            near = [n for n in near if _key(liked[n]) != _key(row)][:WHY]
            row["why"] = {"nearest_liked": [{**liked[n], "cosine": float(values[n])} for n in near]}

    def _directions(self, rows: list[dict[str, Any]]) -> Tensor:
        """v̂ (n, D) of rows at length 1."""
        vectors = self.store.rows([_key(row) for row in rows]).astype(np.float32, copy=False)
        return F.normalize(self._embed(vectors), dim=-1)

    def _liked_segments(self) -> list[dict[str, Any]]:
        """The segments that the user likes and that have usable features."""
        labels, found = self.question.labels(), []
        for video in sorted(set(labels["video_id"].to_pylist()) & set(self.store.keys())):
            block = self.store.read(video)
            wanted = labels.filter(pc.equal(labels["video_id"], video))["segment_index"].to_numpy()
            for i in np.flatnonzero(usable(block) & np.isin(block.segment_index, wanted)).tolist():
                when = clock(block.start_ms[i], block.stop_ms[i])
                found.append({"video_id": video, "segment_index": int(block.segment_index[i]), "clock": when})
        return found

    def _liked_videos(self) -> list[dict[str, Any]]:
        """The videos that the user has touched and that have usable features."""
        touched = set(self.question.events("video_id", kinds=TOUCHES)["video_id"].to_pylist())
        there = sorted(touched & set(self.store.keys()))
        return [{"video_id": video} for video in there if usable(self.store.read(video)).any()]


def _key(row: dict[str, Any]) -> tuple[str, int]:
    """Its key in the store; that of a whole video has index 0."""
    return row["video_id"], row.get("segment_index", 0)
