"""Recommendations of PR-Net: steps of any video that has some, by the user's past highlights as the tables have them
now. The model has no parameters of single users, so that any user with a highlight is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, Scored, block_of, clock, meant
from reelmill.models.data.arrays import spans
from reelmill.models.data.vectors import usable
from reelmill.models.prnet.model import PRNet
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.protocols.highlights.cells import Cells
from reelmill.models.protocols.highlights.data import Ranges, extent
from reelmill.models.protocols.highlights.query import Query
from reelmill.models.protocols.highlights.task import AT_ONCE
from reelmill.storage import FeatureStore
from reelmill.storage.errors import InputError

EVENT = ["user_id", "video_id", "time", "start_ms", "stop_ms", "last_video", "source", "source_row"]


@dataclass(frozen=True)
class Steps:
    """The rows of a video in order of time, (T,) each."""

    video: str
    features: np.ndarray
    """(T, dim) float32."""
    usable: np.ndarray
    segment: np.ndarray
    start_ms: np.ndarray
    stop_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.usable)

    @classmethod
    def read(cls, store: FeatureStore, video: str) -> "Steps":
        """Of a video that the store has."""
        block = store.read(video)
        order = np.argsort(block.start_ms, kind="stable")
        columns = (block.segment_index[order].astype(np.int64), block.start_ms[order], block.stop_ms[order])
        return cls(video, block.features[order].astype(np.float32, copy=False), usable(block)[order], *columns)


@dataclass(frozen=True)
class History:
    """A user's highlights, oldest first: n of them, each with its steps."""

    video: list[str]
    """(n,) the video of each."""
    clock: list[str]
    """(n,) from when to when."""
    clip: list[np.ndarray]
    """(n,) rows (steps, dim) of each."""
    valid: list[np.ndarray]
    """(n,) which of these are usable."""

    @classmethod
    def read(cls, question: Question, store: FeatureStore, window: int) -> "History":
        """One user's, as `protocols.highlights.data` reads those of all users; clips are cut to `window` steps."""
        events = question.events(*EVENT[1:], kinds=["highlight"])
        read = (Steps.read(store, v) for v in sorted(set(events["video_id"].to_pylist())) if v in store)
        videos = [steps for steps in read if steps.usable.any()]
        if not videos:
            return cls([], [], [], [])
        ranges, _ = Ranges.read(events.select(EVENT), [str(question.user)], [steps.video for steps in videos])
        start = np.cumsum([0, *map(len, videos)])
        cells = Cells(start, *(np.concatenate([getattr(s, n) for s in videos]) for n in ("start_ms", "stop_ms")))
        there, features = (np.concatenate([getattr(s, name) for s in videos]) for name in ("usable", "features"))
        of, step = cells.covered(ranges.video, ranges.start_ms, ranges.stop_ms)
        works = np.bincount(of, weights=there[step], minlength=len(ranges)) > 0
        ranges = ranges.of_users(works)
        of, step = (np.cumsum(works) - 1)[of[works[of]]], step[works[of]]
        first, size, _ = extent(ranges, of, step, cells)
        rows = [slice(a, a + min(n, window)) for a, n in zip(first.tolist(), size.tolist(), strict=True)]
        return cls(
            [videos[v].video for v in ranges.video.tolist()],
            [clock(a, b) for a, b in zip(ranges.start_ms, ranges.stop_ms, strict=True)],
            [features[r] for r in rows],
            [there[r] for r in rows],
        )

    def known(self, video: str | None, settings: PRNetSettings) -> list[int]:
        """Numbers of those that count as history for a video, the newest first."""
        began = self.video.index(video) if video in self.video and settings.past == "earlier" else len(self.video)
        numbers = [n for n in reversed(range(began)) if self.video[n] != video]
        return numbers if settings.history_size < 0 else numbers[: settings.history_size]


class PRNetAdviser(Adviser):
    """Ranks steps by l (or l − b, as the run's settings say), each video encoded as a whole."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(PRNet, question.fitted.model)
        self.settings = cast(PRNetSettings, question.fitted.settings)
        self.store = question.store("steps", self.model.sizes["features"])
        self.history = History.read(question, self.store, self.settings.window)

    def of_video(self, video: str) -> Answer:
        """The best steps of a video; the history is the user's highlights in other videos."""
        block_of(self.store, video)
        return self._answer([video], self.history.known(video, self.settings), {})

    def of_all(self) -> Answer:
        """The best steps of all videos in which the user has marked nothing."""
        marked = set(self.question.events("video_id", kinds=["highlight"])["video_id"].to_pylist())
        videos = self.question.unmarked(self.store, marked)
        left_out = {"videos_marked": len(self.store) - len(videos)}
        return self._answer(videos, self.history.known(None, self.settings), left_out)

    def _answer(self, videos: list[str], known: list[int], left_out: dict[str, int]) -> Answer:
        how = self._how(known)
        if not known and not self.settings.generic:
            raise InputError(
                f"run {self.question.run} has no generic preference (generic: false), and {how}: it likes every step "
                "equally; name a user with highlights, or a run with generic: true"
            )
        parts, empty = [], 0
        for some in self._batches(videos):
            scores, _ = self.model.score(self._query(some, known))
            for number, steps, score in zip(*some, scores.numpy(), strict=True):
                here = steps.usable
                empty += not here.any()
                columns = (steps.segment[here], steps.start_ms[here], steps.stop_ms[here])
                parts.append((np.full(here.sum(), number), *columns, score[: len(steps)][here].astype(np.float64)))
        found = Scored.joined(videos, parts, empty)
        rows = found.rows(found.best(self.question.top))
        if self.question.why:
            self._explain(rows, known)
        left_out = {**left_out, "videos_without_data": empty}
        return Answer("step", bool(known), how, rows, len(found), left_out)

    def _how(self, known: list[int]) -> str:
        """What the answer is computed from for this user, in words."""
        if known:
            videos = len({self.history.video[n] for n in known})
            own = f"{len(known)} past highlights in {videos} videos"
            return f"{own}, and the generic preference" if self.settings.generic else own
        if self.question.user is None:
            why = "no user is named"
        elif self.history.video:
            why = "none of their highlights counts here (history_size is 0, or they are all in this video)"
        else:
            users = pc.unique(self.question.root.tables.read("events", ["user_id"])["user_id"]).to_pylist()
            why = f"{self.question.user!r} has no highlight on a step{meant(self.question.user, users)}"
        return f"{why}; the generic preference g alone" if self.settings.generic else why

    def _batches(self, videos: list[str]) -> Iterator[tuple[list[int], list[Steps]]]:
        """Places in `videos`, and their steps, so many at once as the test takes."""
        numbers: list[int] = []
        waiting: list[Steps] = []
        for number, video in enumerate(videos):
            steps = Steps.read(self.store, video)
            if waiting and (len(waiting) + 1) * max(len(steps), *map(len, waiting)) > AT_ONCE:
                yield numbers, waiting
                numbers, waiting = [], []
            numbers, waiting = [*numbers, number], [*waiting, steps]
        yield numbers, waiting

    def _query(self, some: tuple[list[int], list[Steps]], known: list[int]) -> Query:
        """These videos, each with the same history."""
        steps = some[1]
        dim = self.store.spec.dim
        clips = _padded([self.history.clip[n] for n in known], [self.history.valid[n] for n in known], dim)
        history = torch.arange(len(known)).expand(len(steps), -1)
        return Query(*_padded([s.features for s in steps], [s.usable for s in steps], dim), *clips, history)

    def _explain(self, rows: list[dict[str, Any]], known: list[int]) -> None:
        """Weights a of eq. 3, and of the generic preference (eq. 5), at each recommended step."""
        for video in dict.fromkeys(row["video_id"] for row in rows):
            steps = Steps.read(self.store, video)
            reasons = self.model.score(self._query(([0], [steps]), known))[1]
            for row in (row for row in rows if row["video_id"] == video):
                step = int(np.searchsorted(steps.start_ms, row["start_ms"]))
                weights = reasons.attention[0, step]
                best = weights.argsort(descending=True, stable=True)[:WHY].tolist()
                row["why"] = {
                    "generic": float(reasons.generic[0, step]),
                    "history": [
                        {"video_id": self.history.video[known[n]], "clock": self.history.clock[known[n]],
                         "weight": float(weights[n])}
                        for n in best
                    ],
                }  # fmt: skip


def _padded(rows: list[np.ndarray], valid: list[np.ndarray], dim: int) -> tuple[Tensor, Tensor]:
    """Ranges of rows (n, longest, dim), padded at the end, and which are there (n, longest)."""
    size = np.array([len(r) for r in rows], np.int64)
    longest = int(size.max(initial=0))
    place = np.repeat(np.arange(len(rows)) * longest, size) + spans(np.zeros_like(size), size)
    out, there = np.zeros((len(rows) * longest, dim), np.float32), np.zeros(len(rows) * longest, bool)
    if len(rows):
        out[place], there[place] = np.concatenate(rows), np.concatenate(valid)
    shape = len(rows), longest
    return torch.from_numpy(out).view(*shape, dim), torch.from_numpy(there).view(shape)
