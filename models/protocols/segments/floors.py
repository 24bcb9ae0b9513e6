"""Rankings of a video's segments that need neither features nor training, on real labels with the papers' metrics. What
a model is worth is what it adds to them.

    found = floors("root")
    found["rows"]  # TransGRec's test: the last video of each user who has five
    found["last_videos"]  # PHD²'s: every video that the source marks as its user's last one

Segments and labels of a published table alone will do (`reelmill label`): durations are then those that the table
claims. Videos of unknown duration have no grid and are left out, and counted.
"""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.compute as pc

from reelmill.models.data.arrays import codes
from reelmill.models.data.cases import Cases
from reelmill.models.data.sources import choose
from reelmill.models.metrics import evaluate, untrained
from reelmill.models.protocols.segments import split as splits
from reelmill.models.protocols.segments.data import Interactions, load_labels
from reelmill.models.protocols.segments.split import Split
from reelmill.storage import Root
from reelmill.storage.place import AnyRoot


def floors(root: AnyRoot, seed: int = 0, least_videos: int = 5, sources: Collection[str] = ()) -> dict[str, Any]:
    """Tables of the rows random, smooth random and early first, as `Task.evaluate` gives them: `rows`, `by_sparsity`
    and `last_videos`, which is empty where no source marks any; and `counts`. `seed`: of TransGRec's split, of the
    smooth noise and of the bootstrap. `sources`: those to read, as `fit.train` takes them. Raises InputError if no user
    has `least_videos` videos, or as `sources.choose` does."""
    root = choose(Root(root), sources)
    data = load_labels(root)
    split = splits.last_video(data, np.random.default_rng(seed), least_videos)
    history = np.bincount(data.positive_user[split.train], minlength=len(data.users))[split.test.user]
    pairs, unknown = _marked(root, data)
    last, empty = splits.cases(data, pairs)
    none = np.zeros(len(last), np.int64)  # of these only the rows over all users are used, no groups
    marked = _tables(data, last, none, seed)["rows"] if len(last) else []
    counts = {
        "last_video_cases": len(last),
        "last_videos_without_positives": empty,
        "last_videos_without_grid_or_user_without_positives": unknown,
    }
    return {
        **_tables(data, split.test, history, seed),
        "last_videos": marked,
        "counts": {**asdict(data.counts), **split.counts, **counts},
    }


def _tables(data: Interactions, cases: Cases, history: np.ndarray, seed: int) -> dict[str, Any]:
    found = evaluate.tables(cases, blind_rows(data, cases, seed), history, seed)
    return {name: found[name] for name in ("rows", "by_sparsity")}


def _marked(root: Root, data: Interactions) -> tuple[np.ndarray, int]:
    """Pairs user · V + video (n,) that a source marks as the user's last video; and how many more such pairs there are
    of which user or video is not among the data's."""
    events = root.tables.read("events", ["user_id", "video_id", "kind", "last_video"])
    events = events.filter(pc.and_(pc.equal(events["kind"], "highlight"), pc.fill_null(events["last_video"], False)))
    pairs = events.select(["user_id", "video_id"]).group_by(["user_id", "video_id"]).aggregate([])
    places = [codes(pairs[name], names) for name, names in (("user_id", data.users), ("video_id", data.videos))]
    known = (places[0] >= 0) & (places[1] >= 0)
    return np.sort((places[0] * len(data.videos) + places[1])[known]), int((~known).sum())


def segment_rows(data: Interactions, split: Split, seed: int) -> dict[str, list[np.ndarray]]:
    """The rows of every table of ranked segments."""
    return {**blind_rows(data, split.test, seed), "content": [content(data, split)]}


def blind_rows(data: Interactions, cases: Cases, seed: int) -> dict[str, list[np.ndarray]]:
    """Those of them that need no features: `random`, `smooth random` and `early first`."""
    return untrained.rows(cases, data.segment_index[cases.segment], np.random.default_rng(seed))


def video_rows(data: Interactions, split: Split, seed: int) -> dict[str, list[np.ndarray]]:
    """The rows of every table of ranked videos that training never saw. `most popular` is not among them: no training
    user touched any."""
    return {"random": [untrained.random(split.test)], "content": [content(data, split)]}


def content(data: Interactions, split: Split) -> np.ndarray:
    """Cosine between a test candidate and the mean of what its user liked in training, after subtracting the mean over
    all of training. A user without training positives gets equal scores."""
    cases = split.test
    liked = split.train[np.isin(data.positive_user[split.train], cases.user)]
    centre = data.spread(np.unique(data.positive_segment[split.train])).mean
    profile = np.zeros((len(data.users), data.dim), np.float32)
    if len(liked):
        user, segment = data.positive_user[liked], data.positive_segment[liked]
        first = np.flatnonzero(np.diff(user, prepend=-1))
        profile[user[first]] = np.add.reduceat(data.vectors(segment) - centre.astype(np.float32), first)
    segments, place = np.unique(cases.segment, return_inverse=True)
    vectors = data.vectors(segments) - centre.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.einsum("td,td->t", profile[cases.candidate_user], vectors[place]).astype(np.float64)
