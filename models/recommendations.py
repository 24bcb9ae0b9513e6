"""Recommend: from a fitted run to segments, steps, key frames, items or videos for one user, with reasons.

    answer = recommend("root", user="ann", video="dQw4w9WgXcQ")
    answer.recommended[0]  # {"rank": 1, "segment_index": 7, "clock": "0:35–0:40", "score": 2.71, …}

Scores are those of the run's own evaluation. Users and videos that the training did not see are answered as far as the
model's equations go; the answer says what represents the user, and what was left out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models import registry
from reelmill.models.core.advice import Question
from reelmill.models.runs import Run, find_run, load, recommending
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

if TYPE_CHECKING:
    from reelmill.models.core.base import Fitted


@dataclass(frozen=True)
class AskedUser:
    """The user that a list was computed for."""

    id: str | None
    """None if no user was named."""
    known: bool
    """The model knows this very user."""
    how: str
    """What represents the user in the model, in words."""


@dataclass(frozen=True)
class Recommendations:
    """A list of recommendations."""

    run: str
    """Name of the run."""
    model: str
    """Name of the recommender."""
    user: AskedUser
    video: str | None
    """The video that was asked for; None: all that there are."""
    unit: str
    """What a row is: segment, step, key frame, item or video."""
    recommended: list[dict[str, Any]]
    """The best first, each with `rank`, `score`, `video_id`, and `title` where the tables have it; further keys depend
    on the unit, such as `segment_index`, `start_ms`, `stop_ms` and `clock`."""
    candidates: int
    """Number of candidates of this unit."""
    left_out: dict[str, int]
    """What could not be a candidate, and why."""
    notes: list[str]
    """What a reader of the scores should know."""
    about: dict[str, Any]
    """What is said of the asked video as a whole."""


def recommend(
    root: AnyRoot,
    user: str | None = None,
    video: str | None = None,
    run: str | None = None,
    top: int = 10,
    why: bool = False,
) -> Recommendations:
    """The `top` best for a user: of one video, or of all that the user has not met.

    `run`: the name of a run's folder, or of a recommender for its newest run; by default the newest run of all. `why`:
    each recommendation says what it rests on, such as attention weights or the nearest liked segments. Raises
    InputError where the root, the run, the video or the user does not allow it.
    """
    if top < 1:
        raise InputError(f"top {top}: must be at least 1")
    root = Root(root)
    chosen = find_run(root, run)
    fitted = load(chosen.folder)
    advise = registry.find(fitted.name).adviser
    if advise is None:
        raise InputError(f"run {chosen.name} is of {fitted.name}, which does not recommend; {recommending()}")
    adviser = advise(Question(root.of_sources(fitted.sources), chosen.name, fitted, user, video, top, why))
    answer = adviser.of_all() if video is None else adviser.of_video(video)
    notes = [*answer.notes, *_later_sources(root, chosen, fitted, user)]
    return Recommendations(
        chosen.name, fitted.name, AskedUser(user, answer.known, answer.how), video, answer.unit,
        _titled(root, answer.recommended), answer.candidates, answer.left_out, notes, answer.about,
    )  # fmt: skip


def _later_sources(root: Root, run: Run, fitted: "Fitted", user: str | None) -> list[str]:
    """A note on events of the user from sources that the root did not have when the run was fitted."""
    known = run.metrics().get("sources")
    if known is None or fitted.sources or user is None:
        return []
    events = root.tables.read("events", ["user_id", "source"])
    mine = pc.unique(events.filter(pc.equal(events["user_id"], user))["source"]).to_pylist()
    if not (later := sorted({*mine} - {*known})):
        return []
    return [f"events of {', '.join(later)}, read after the fit, count as this user's: the ids are the same"]


def _titled(root: Root, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the titles that the tables have."""
    wanted = pa.array([row["video_id"] for row in rows], pa.string())
    videos = root.tables.read("videos", ["video_id", "title"])
    videos = videos.filter(pc.and_(pc.is_in(videos["video_id"], value_set=wanted), pc.is_valid(videos["title"])))
    titles = dict(zip(videos["video_id"].to_pylist(), videos["title"].to_pylist(), strict=True))
    return [{**row, "title": titles[row["video_id"]]} if row["video_id"] in titles else row for row in rows]
