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

from reelmill.models.baselines.fpmc.recommend import FPMCAdviser
from reelmill.models.baselines.vbpr.recommend import BPRAdviser
from reelmill.models.core.advice import Adviser, Question
from reelmill.models.core.runs import Run, list_runs, load
from reelmill.models.drnn.recommend import DRNNAdviser
from reelmill.models.jifr.recommend import JIFRAdviser
from reelmill.models.multimodal.recommend import MultimodalAdviser
from reelmill.models.prnet.recommend import PRNetAdviser
from reelmill.models.protocols.clicks.recommend import FieldsAdviser
from reelmill.models.transgrec.recommend import TransGRecAdviser
from reelmill.storage import Tables, parts
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.place import place

ADVISERS: dict[str, type[Adviser]] = {
    "transgrec": TransGRecAdviser,
    "jifr": JIFRAdviser,
    "prnet": PRNetAdviser,
    "multimodal": MultimodalAdviser,
    "fm": FieldsAdviser,
    "deepfm": FieldsAdviser,
    "drnn": DRNNAdviser,
    "bpr": BPRAdviser,
    "vbpr": BPRAdviser,
    "fpmc": FPMCAdviser,
}
"""The recommenders of `registry` that recommend. A new one is one file and one line here."""


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
    if fitted.name not in ADVISERS:
        raise InputError(f"run {chosen.folder.name} is of {fitted.name}, which does not recommend; {_known()}")
    question = Question(root, chosen.folder.name, fitted, user, video, top, why)
    adviser = ADVISERS[fitted.name](question)
    answer = adviser.of_all() if video is None else adviser.of_video(video)
    said = asdict(answer)
    known, how = said.pop("known"), said.pop("how")
    _name(root, said["recommended"])
    return {
        "run": chosen.folder.name,
        "model": fitted.name,
        "user": {"id": user, "known": known, "how": how},
        "video": video,
        **said,
    }


def find_run(root: str | Path, name: str | None = None) -> Run:
    """The complete run of this name, or the newest of the recommender of this name, or the newest of all that
    recommend. Raises InputError."""
    done = list_runs(root)
    if not done:
        begun = parts.folders(place(root) / "runs")
        more = f" ({', '.join(sorted(begun))} is not complete; the same command goes on with it)" if begun else ""
        raise InputError(f"{root} has no complete run{more}: fit a recommender first (reelmill train)")
    if name is None:
        fits = [run for run in done if _model(run) in ADVISERS]
        if not fits:
            raise InputError(
                f"no run of {root} is of a recommender that recommends; {_known()}: fit one (reelmill train)"
            )
    else:
        fits = [run for run in done if name in (run.folder.name, _model(run))]
    if fits:
        return fits[-1]
    if name in parts.folders(place(root) / "runs"):
        raise InputError(f"run {name!r} is not complete: fit it to the end first (reelmill train)")
    names = [run.folder.name for run in reversed(done)]
    raise InputError(f"run {name!r}: {nearest(str(name), [*names, *sorted(set(map(_model, done)))])}")


def _model(run: Run) -> str:
    """Name of the run's recommender."""
    return run.folder.name.rpartition("-")[0]


def _known() -> str:
    return f"known: {', '.join(ADVISERS)}"


def _name(root: str | Path, rows: list[dict[str, Any]]) -> None:
    """Add the titles that the tables have."""
    wanted = pa.array([row["video_id"] for row in rows], pa.string())
    said = Tables(root).read("videos", ["video_id", "title"])
    said = said.filter(pc.and_(pc.is_in(said["video_id"], value_set=wanted), pc.is_valid(said["title"])))
    titles = dict(zip(said["video_id"].to_pylist(), said["title"].to_pylist(), strict=True))
    for row in rows:
        if row["video_id"] in titles:
            row["title"] = titles[row["video_id"]]
