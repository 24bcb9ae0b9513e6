"""What recommending shares across recommenders: the question, the answer, an adviser, and scored rows of a store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.core.base import Fitted
from reelmill.models.data.vectors import CHUNK, usable
from reelmill.storage import Block, FeatureStore, Root
from reelmill.storage.errors import InputError

WHY = 3
"""At most so many reasons for each recommendation."""


@dataclass(frozen=True)
class Question:
    """Which user wants recommendations, of what, from which fitted model."""

    root: Root
    run: str
    """Name of the run, for messages."""
    fitted: Fitted
    user: str | None
    """None: no user is named."""
    video: str | None
    """Rank inside this one; None: all videos."""
    top: int
    why: bool

    @property
    def who(self) -> str:
        """The user in words."""
        return "an unnamed user" if self.user is None else f"user {self.user!r}"

    def store(self, role: str, dim: int | None = None) -> FeatureStore:
        """The very store that the run was fitted on; `dim`: the dimension that its model takes. Raises InputError if
        the store is missing, or its folder holds another spec."""
        name = self.fitted.stores[role]
        if name not in (known := self.root.features.list()):
            there = f"there are {', '.join(known)}" if known else "there is none"
            raise InputError(
                f"run {self.run} reads the store {name}, which is missing in {self.root} ({there}): extract it again "
                "with the settings of the fit, or name another run"
            )
        store = self.root.features.open(name)
        if store.spec.name != name or dim not in (None, store.spec.dim):
            raise InputError(
                f"run {self.run} was fitted on the store {name}, but that folder holds {store.spec.name} of "
                f"dimension {store.spec.dim}: extract again with the settings of the fit, or name another run"
            )
        return store

    def events(self, *columns: str, kinds: Sequence[str] = ()) -> pa.Table:
        """The user's events of these kinds, or of all kinds."""
        events = self.root.tables.read("events", ["user_id", "kind", *columns])
        events = events.filter(pc.equal(events["user_id"], pa.scalar(self.user, pa.string())))
        return events.filter(pc.is_in(events["kind"], value_set=pa.array(kinds))) if kinds else events

    def labels(self) -> pa.Table:
        """Video and segment_index of the segments that the user likes."""
        labels = self.root.tables.read("labels", ["user_id", "video_id", "segment_index"])
        labels = labels.filter(pc.equal(labels["user_id"], pa.scalar(self.user, pa.string())))
        return labels.select(["video_id", "segment_index"])

    def unmarked(self, store: FeatureStore, marked: set[str]) -> list[str]:
        """The videos of a store that are not in `marked`. Raises InputError if none is left."""
        left = sorted(set(store.keys()) - marked)
        if not left:
            raise InputError(
                f"{self.who} has marked all {len(store)} videos of {store.spec.name}: extract more, or name one with "
                "--video"
            )
        return left

    def unknown_user(self, users: Sequence[str]) -> str:
        """Says that the user is not among the users (n,) of the training, and which name may be meant."""
        if self.user is None:
            return "no user is named"
        return f"{self.user!r} is not among the {len(users):,} users of the training{meant(self.user, users)}"


@dataclass(frozen=True)
class Answer:
    """What is recommended, and what represented the user."""

    unit: str
    """What a row is: segment, step, key frame, item or video."""
    known: bool
    """The model knows this very user."""
    how: str
    """What represents the user in the model, in words."""
    recommended: list[dict[str, Any]]
    """The best first, each with its rank and score; the others of its keys are those of its unit."""
    candidates: int
    """Number of candidates of this unit."""
    left_out: dict[str, int] = field(default_factory=dict)
    """What could not be a candidate, and why."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the scores should know."""
    about: dict[str, Any] = field(default_factory=dict)
    """What is said of the asked video as a whole."""


class Adviser:
    """Recommends by one fitted model. Raises InputError where the model cannot."""

    def __init__(self, question: Question) -> None:
        self.question = question

    def of_video(self, video: str) -> Answer:
        """The best of one video."""
        raise NotImplementedError

    def of_all(self) -> Answer:
        """The best of everything that the user has no event of."""
        raise NotImplementedError


@dataclass(frozen=True)
class Scored:
    """Rows of videos with their scores, (n,) each."""

    videos: Sequence[str]
    video: np.ndarray
    """int64, place in `videos`."""
    segment: np.ndarray
    """int64, segment of the grid."""
    start_ms: np.ndarray
    stop_ms: np.ndarray
    score: np.ndarray
    empty: int = 0
    """Videos without a usable row."""

    @classmethod
    def joined(cls, videos: Sequence[str], parts: Sequence[tuple[np.ndarray, ...]], empty: int) -> "Scored":
        """Of parts (video, segment, start_ms, stop_ms, score)."""
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] or [np.zeros(0, np.int64)] * 5
        video, segment, start_ms, stop_ms, score = columns
        return cls(videos, video, segment, start_ms, stop_ms, score, empty)

    def __len__(self) -> int:
        return len(self.score)

    def best(self, top: int) -> np.ndarray:
        """Places (≤ top,) of the highest scores, of equal ones the first."""
        return np.argsort(-self.score, kind="stable")[:top]

    def rows(self, places: np.ndarray) -> list[dict[str, Any]]:
        """The rows at these places, ranked in this order."""
        return [
            {
                "rank": rank + 1, "video_id": self.videos[self.video[i]], "segment_index": int(self.segment[i]),
                "start_ms": int(self.start_ms[i]), "stop_ms": int(self.stop_ms[i]),
                "clock": clock(self.start_ms[i], self.stop_ms[i]), "score": float(self.score[i]),
            }
            for rank, i in enumerate(places.tolist())
        ]  # fmt: skip


def block_of(store: FeatureStore, video: str) -> Block:
    """The block of a video. Raises InputError if there is none, or no row of it is usable."""
    if video not in store:
        raise InputError(
            f"video {video!r} has no features in {store.spec.name}{meant(video, store.keys())}; extract it first "
            "(reelmill extract)"
        )
    block = store.read(video)
    if not usable(block).any():
        raise InputError(f"none of the {len(block)} rows of video {video!r} in {store.spec.name} could be decoded")
    return block


def score_rows(store: FeatureStore, videos: Sequence[str], score: Callable[[np.ndarray], np.ndarray]) -> Scored:
    """Scores of all usable rows of videos, some thousand vectors (n, dim) float32 at once."""
    parts = [(*columns, score(vectors).astype(np.float64)) for vectors, columns in _chunks(store, videos)]
    seen = {number for part in parts for number in np.unique(part[0]).tolist()}
    return Scored.joined(videos, parts, len(videos) - len(seen))


def _chunks(store: FeatureStore, videos: Sequence[str]) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Vectors (n, dim), and place of the video, segment_index, start_ms and stop_ms (n,) of usable rows."""
    waiting: list[tuple[np.ndarray, ...]] = []
    rows = 0
    for number, video in enumerate(videos):  # a block is a view of the memory map: one read for each video
        block = store.read(video)
        kept = usable(block)
        columns = (block.segment_index[kept].astype(np.int64), block.start_ms[kept], block.stop_ms[kept])
        waiting.append((block.features[kept].astype(np.float32), np.full(kept.sum(), number), *columns))
        rows += int(kept.sum())
        if rows >= CHUNK or (rows and number == len(videos) - 1):
            vectors, *rest = (np.concatenate(column) for column in zip(*waiting, strict=True))
            yield vectors, tuple(rest)
            waiting, rows = [], 0


def meant(name: str, known: Sequence[str]) -> str:
    """` (did you mean 'X'?)` for a misspelt name, or nothing: what is known may be a hundred thousand names."""
    close = get_close_matches(name, known, n=1, cutoff=0.8)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != name else ""


def clock(start_ms: int, stop_ms: int) -> str:
    """`0:05–0:10`, or `0:04.5–0:05.1`: with tenths if either of the two needs them."""
    ends = [round(int(ms) / 100) for ms in (start_ms, stop_ms)]
    return "–".join(_time(tenths, exact=any(end % 10 for end in ends)) for tenths in ends)


def _time(tenths: int, exact: bool) -> str:
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    ahead = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{ahead}:{rest // 10:02}" + (f".{rest % 10}" if exact else "")
