"""Rankings of a video's segments that need neither features nor training, on real labels with the papers' metrics. What
a model is worth is what it adds to them.

    found = floors("root")
    found["rows"]  # TransGRec's test: the last video of each user who has five
    found["last_videos"]  # PHD²'s: every video that the source marks as its user's last one

Segments and labels of a published table alone will do (`reelmill label`): durations are then those that the table
claims. Videos of unknown duration have no grid and are left out, and counted.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data import splits
from reelmill.models.data.segments import Interactions, load_labels
from reelmill.models.data.splits import Cases
from reelmill.models.metrics import evaluate
from reelmill.models.metrics import untrained as baselines
from reelmill.storage import Tables


def floors(root: str | Path, seed: int = 0, least_videos: int = 5) -> dict[str, Any]:
    """Tables of the rows random, smooth random and early first, as `Task.evaluate` gives them: `rows`, `by_sparsity`
    and `last_videos`, which is empty where no source marks any; and `counts`. `seed`: of TransGRec's split, of the
    smooth noise and of the bootstrap. Raises InputError if nobody has `least_videos` videos."""
    data = load_labels(root)
    split = splits.last_video(data, np.random.default_rng(seed), least_videos)
    history = np.bincount(data.positive_user[split.train], minlength=len(data.users))[split.test.user]
    pairs, unknown = _marked(root, data)
    last, empty = splits.cases(data, pairs)
    alike = np.zeros(len(last), np.int64)  # one group: of these, only the rows over all are told
    marked = _tables(data, last, alike, seed)["rows"] if len(last) else []
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
    return evaluate.tables(cases, baselines.blind_rows(data, cases, seed), history, seed)


def _marked(root: str | Path, data: Interactions) -> tuple[np.ndarray, int]:
    """Pairs user · V + video (n,) that a source marks as the user's last video; and how many more such pairs there are
    of which user or video is not among the data's."""
    events = Tables(root).read("events", ["user_id", "video_id", "kind", "last_video"])
    events = events.filter(pc.and_(pc.equal(events["kind"], "highlight"), pc.fill_null(events["last_video"], False)))
    pairs = events.select(["user_id", "video_id"]).group_by(["user_id", "video_id"]).aggregate([])
    places = [
        pc.fill_null(pc.index_in(pairs[name], value_set=pa.array(names)), -1).to_numpy().astype(np.int64)
        for name, names in (("user_id", data.users), ("video_id", data.videos))
    ]
    known = (places[0] >= 0) & (places[1] >= 0)
    return np.sort((places[0] * len(data.videos) + places[1])[known]), int((~known).sum())
