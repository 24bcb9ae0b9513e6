"""Recommendations of JIFR: items, each with its key frame, and the key frames of one item.

The equations do not cover users and items without a training rating. They get what the model's own regulariser pulls
them to: an unknown user is the mean user, and a new item has v = 0, so that only its frames rate it, β₂ w·x.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, Scored, block_of, clock
from reelmill.models.data.vectors import usable
from reelmill.models.jifr.model import JIFR
from reelmill.models.protocols.items_and_frames.data import on_screen
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.models.protocols.items_and_frames.task import AT_ONCE
from reelmill.storage import FeatureStore
from reelmill.storage.errors import InputError

NEW = "new items have no v: they are rated by sight alone"


@dataclass(frozen=True)
class Shown:
    """The usable frames of an item in order of time, (L,) each; L may be 0."""

    features: np.ndarray
    """(L, dim) float32."""
    segment: np.ndarray
    start_ms: np.ndarray
    stop_ms: np.ndarray
    """Where the next row begins, or the last one ends."""

    @classmethod
    def read(cls, store: FeatureStore, item: str) -> "Shown":
        """None at all of an item that the store does not have."""
        if item not in store or not len(block := store.read(item)):
            none = np.zeros(0, np.int64)
            return cls(np.zeros((0, store.spec.dim), np.float32), none, none, none)
        order = np.argsort(block.start_ms, kind="stable")
        kept = usable(block)[order]
        start, stop = on_screen(block.start_ms[order], block.stop_ms[order])
        features = block.features[order][kept].astype(np.float32, copy=False)
        return cls(features, block.segment_index[order][kept].astype(np.int64), start[kept], stop[kept])


class JIFRAdviser(Adviser):
    """Ranks items by r̂ (eq. 8) and the frames of one by l̂ (eq. 4)."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        trained, names = cast(JIFR, question.fitted.model), question.fitted.identities
        self.store = question.store("frames", trained.sizes["features"])
        self.items = names["items"]
        self.old = len(self.items)
        self.known = question.user in names["users"]
        if self.known:
            self.user, self.how = question.fitted.row("users", str(question.user)), "their own rows of U and W"
        else:
            self.user = len(names["users"])
            self.how = f"{question.unknown_user(names['users'])}; the mean of their rows stands in"
        self.trained = trained
        self.model = trained

    def of_video(self, video: str) -> Answer:
        """The key frames of an item, and the user's rating of it."""
        block_of(self.store, video)
        item = self._widen([] if video in self.items else [video])[video]
        shown = Shown.read(self.store, video)
        found, alpha = self._frames(item, video, shown)
        places = found.best(self.question.top)
        rows = found.rows(places)
        beta = self._balance(item)
        for row, place in zip(rows, places.tolist(), strict=True):
            row["attention"] = float(alpha[place])
            if self.question.why:  # r̂ = β₁ u·v + Σ β₂ α l̂
                part = beta["sight"] * row["attention"] * row["score"]
                row["why"] = {"attention": row["attention"], "of_rating": part}
        rating = float(self.model.score(torch.tensor(self.user), torch.tensor(item)))
        about = {"rating": rating, "new": item >= self.old, **beta}
        notes = [NEW] if item >= self.old else []
        return Answer("key frame", self.known, self.how, rows, len(found), notes=notes, about=about)

    def of_all(self) -> Answer:
        """The best items new to the user, of the training or not, each with its key frame."""
        met = set(self.question.events("video_id")["video_id"].to_pylist())
        trained = set(self.items)
        fresh = sorted(set(self.store.keys()) - trained - met)
        places = self._widen(fresh)
        framed = self.model.framed
        left = [v for v in [*self.items, *fresh] if v not in met]
        candidates = [v for v in left if places[v] < self.old or framed[places[v]]]
        if not candidates:
            raise InputError(f"{self.question.who} has met every item of run {self.question.run}: extract more")
        rows = torch.tensor([places[v] for v in candidates])
        users = torch.tensor(self.user)
        scores = torch.cat([self.model.score(users, some) for some in rows.split(AT_ONCE * AT_ONCE)]).double().numpy()
        best = np.argsort(-scores, kind="stable")[: self.question.top].tolist()
        recommended = [
            {"rank": rank + 1, "video_id": candidates[i], "score": float(scores[i]),
             "new": places[candidates[i]] >= self.old, **self._key_frame(places[candidates[i]], candidates[i])}
            for rank, i in enumerate(best)
        ]  # fmt: skip
        left_out = {"items_met": len(trained & met), "new_items_without_frames": len(left) - len(candidates)}
        notes = [NEW] if any(row["new"] for row in recommended) else []
        return Answer("item", self.known, self.how, recommended, len(candidates), left_out, notes)

    def _widen(self, fresh: list[str]) -> dict[str, int]:
        """Give the model a row for the mean user and for each of these new items; the row of every item."""
        places = {item: row for row, item in enumerate([*self.items, *fresh])}
        self.model = widened(self.trained, len(fresh))
        for i in range(0, len(fresh), AT_ONCE):
            some = fresh[i : i + AT_ONCE]
            shown = [Shown.read(self.store, item).features for item in some]
            self.model.settle(torch.tensor([places[item] for item in some]), self._sets(shown))
        return places

    def _sets(self, shown: list[np.ndarray]) -> Frames:
        """Frame sets of items, out of features (frames, dim) of each."""
        start = torch.tensor([0, *map(len, shown)]).cumsum(0)
        return Frames(self.model.standardise(torch.from_numpy(np.concatenate(shown))), start)

    def _frames(self, item: int, video: str, shown: Shown) -> tuple[Scored, Tensor]:
        """l̂ of an item's frames, and their α (L,)."""
        score = self.model.score_frames(torch.tensor(self.user), torch.from_numpy(shown.features)).double().numpy()
        with torch.no_grad():
            alpha = self.model.attend(torch.tensor([item]), self._sets([shown.features]))
        zero = np.zeros(len(score), np.int64)
        return Scored([video], zero, shown.segment, shown.start_ms, shown.stop_ms, score), alpha

    def _key_frame(self, item: int, video: str) -> dict[str, Any]:
        """The frame of highest l̂: its place in the video, l̂, and share β₂α of the rating; with reasons on request."""
        shown = Shown.read(self.store, video)
        found, alpha = self._frames(item, video, shown)
        beta = self._balance(item)
        why: dict[str, Any] = {}
        if self.question.why:
            heavy = alpha.argsort(descending=True, stable=True)[:WHY].tolist()
            frames = [
                {"clock": clock(shown.start_ms[k], shown.stop_ms[k]), "attention": float(alpha[k]),
                 "score": float(found.score[k])}
                for k in heavy
            ]  # fmt: skip
            why = {"why": {**beta, "frames": frames}}
        if not len(found):
            return {"clock": None, **why}
        best = int(found.best(1)[0])
        row = found.rows(np.array([best]))[0]
        place = {name: row[name] for name in ("segment_index", "start_ms", "stop_ms", "clock")}
        return {**place, "frame_score": row["score"], "attention": beta["sight"] * float(alpha[best]), **why}

    def _balance(self, item: int) -> dict[str, float]:
        """β: habit and sight."""
        habit, sight = self.model.balance(torch.tensor(self.user), torch.tensor(item)).tolist()
        return {"habit": habit, "sight": sight}


def widened(model: JIFR, items: int) -> JIFR:
    """The same model with one more user, the mean of all, and so many more items, with v = 0 and no frames yet."""
    sizes = dict(model.sizes)
    wider = JIFR(model.settings, sizes["users"] + 1, sizes["items"] + items, sizes["features"])
    state = dict(model.state_dict())
    for name in ("u", "w"):
        state[name] = torch.cat([state[name], state[name].mean(0, keepdim=True)])
    for name in ("v", "final_items", "framed"):
        state[name] = torch.cat([state[name], state[name].new_zeros(items, *state[name].shape[1:])])
    wider.load_state_dict(state)
    return wider.eval()
