"""Recommend: from a fitted run to segments, steps, key frames, items or videos for one user, with reasons.

    figures = recommend("root", user="ann", video="dQw4w9WgXcQ")
    figures["recommended"][0]  # {"rank": 1, "segment_index": 7, "clock": "0:35–0:40", "score": 2.71, …}

Scores are those of the run's own evaluation. Whoever and whatever the training did not see is recommended (to) as far
as the model's equations go; the answer says for whom it was computed, and what was left out.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models import registry
from reelmill.models.core.advice import Question
from reelmill.models.runs import find_run, load, recommending
from reelmill.storage import Tables
from reelmill.storage.errors import InputError


def recommend(
    root: str | Path,
    user: str | None = None,
    video: str | None = None,
    run: str | None = None,
    top: int = 10,
    why: bool = False,
) -> dict[str, Any]:
    """The `top` best for a user: of one video, or of all that she has not met. As plain data: `run`, `model`, `unit`,
    `user` (id, known, how), `recommended`, `candidates`, `left_out`, `notes` and `about`.

    `run`: the name of a run's folder, or of a recommender for its newest run; by default the newest run of all. `why`:
    the attention weights or neighbours behind each recommendation. Raises InputError where the root, the run, the video
    or the user does not allow it.
    """
    if top < 1:
        raise InputError(f"top {top}: must be at least 1")
    chosen = find_run(root, run)
    fitted = load(chosen.folder)
    advise = registry.find(fitted.name).adviser
    if advise is None:
        raise InputError(f"run {chosen.name} is of {fitted.name}, which does not recommend; {recommending()}")
    adviser = advise(Question(root, chosen.name, fitted, user, video, top, why))
    answer = adviser.of_all() if video is None else adviser.of_video(video)
    said = asdict(answer)
    known, how = said.pop("known"), said.pop("how")
    _name(root, said["recommended"])
    return {
        "run": chosen.name,
        "model": fitted.name,
        "user": {"id": user, "known": known, "how": how},
        "video": video,
        **said,
    }


def _name(root: str | Path, rows: list[dict[str, Any]]) -> None:
    """Add the titles that the tables have."""
    wanted = pa.array([row["video_id"] for row in rows], pa.string())
    said = Tables(root).read("videos", ["video_id", "title"])
    said = said.filter(pc.and_(pc.is_in(said["video_id"], value_set=wanted), pc.is_valid(said["title"])))
    titles = dict(zip(said["video_id"].to_pylist(), said["title"].to_pylist(), strict=True))
    for row in rows:
        if row["video_id"] in titles:
            row["title"] = titles[row["video_id"]]
