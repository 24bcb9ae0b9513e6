"""Floors from labels alone: against hand-made figures on a planted table, and on the published test labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelmill.models.metrics.table import PUBLISHED, SEGMENTS
from reelmill.models.protocols.segments import split as splits
from reelmill.models.protocols.segments.data import load_labels
from reelmill.models.protocols.segments.floors import floors
from reelmill.pipeline import labels, sources
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.optional import need

PHD2 = Path(__file__).parents[3] / "shared" / "data" / "phd2" / "even_users.csv"
CELLS = 4
USERS = [f"u{number}" for number in range(6)]


def planted(root: Path, *, marked: bool = True, late: bool = False) -> Path:
    """Six users of five videos each, of four segments; each likes the first one of v0 … v3 and the first (or the last)
    of v4, her newest. The source marks v2 as her last one, and of `u0` also one of unknown duration. `guest` has one
    video, which is marked, with the second and third segment liked; `stranger` marks one, and likes nothing of it."""
    highlights, liked = [], []

    def add(user: str, video: str, segments: list[int], last: bool = False) -> None:
        start = 5000 * (segments[0] if segments else 0)
        highlights.append({"user_id": user, "video_id": video, "kind": "highlight", "start_ms": start,
                           "stop_ms": start + 1000, "last_video": last if marked else None,
                           "source": "planted", "source_row": len(highlights) + 1})  # fmt: skip
        liked.extend({"user_id": user, "video_id": video, "segment_index": s, "covered_ms": 5000} for s in segments)

    for user in USERS:
        for number in range(4):
            add(user, f"v{number}", [0], last=number == 2)
        add(user, "v4", [CELLS - 1 if late else 0])
    add("u0", "unknown", [], last=True)
    add("guest", "v3", [1, 2], last=True)
    add("stranger", "v3", [], last=True)
    grid = [{"video_id": f"v{number}", "segment_index": s, "start_ms": 5000 * s, "stop_ms": 5000 * (s + 1),
             "duration_source": "claimed"} for number in range(5) for s in range(CELLS)]  # fmt: skip
    for name, rows in (("events", highlights), ("labels", liked), ("segments", grid)):
        Tables(root).write(name, rows)
    return root


def mean(found: dict[str, Any], row: str, metric: str, table: str = "rows") -> float:
    return next(r["mean"] for r in found[table] if (r["row"], r["metric"]) == (row, metric))


def test_early_first_meets_truths_that_are_early(tmp_path: Path) -> None:
    """The source marks v2 as the last one, so that TransGRec's test takes it too."""
    found = floors(planted(tmp_path))
    assert {row["row"] for row in found["rows"]} == {"random", "smooth random", "early first"}
    assert {row["metric"] for row in found["rows"]} == {*SEGMENTS, *PUBLISHED}
    assert {row["cases"] for row in found["rows"]} == {6}
    for metric in ("map", "highlight_ap", "hr@1", "ndcg@5"):
        assert mean(found, "early first", metric) == 1.0
    assert mean(found, "early first", "nmsd") == pytest.approx((1 - 0.5) / (CELLS - 0.5))
    assert mean(found, "random", "map") == pytest.approx(np.mean(1 / np.arange(1, CELLS + 1)))
    assert mean(found, "random", "hr@1") == pytest.approx(1 / CELLS)
    assert mean(found, "random", "ndcg@5") < mean(found, "early first", "ndcg@5")


def test_last_videos_are_those_that_the_source_marks(tmp_path: Path) -> None:
    """Of all users, however few videos they have; truths are all their likes of the video."""
    found = floors(planted(tmp_path))
    assert {row["cases"] for row in found["last_videos"]} == {7}
    guest = np.mean([1 / 2, 2 / 3])
    assert mean(found, "early first", "map", "last_videos") == pytest.approx((6 + guest) / 7)
    counts = found["counts"]
    assert (counts["last_video_cases"], counts["test_cases"]) == (7, 6)
    assert counts["last_videos_without_grid_or_user_without_positives"] == 2  # u0's unknown one, and the stranger
    assert counts["videos_without_features"] == 1
    data = load_labels(tmp_path)
    cases, empty = splits.cases(data, np.array([data.users.index("guest") * len(data.videos)]))
    assert (len(cases), empty) == (0, 1), "a video without a like of its user is no case"


def test_without_marks_the_newest_video_is_the_test_and_there_is_no_second_table(tmp_path: Path) -> None:
    found = floors(planted(tmp_path, marked=False, late=True))
    assert found["last_videos"] == []
    assert mean(found, "early first", "map") == pytest.approx(1 / CELLS)
    assert mean(found, "early first", "nmsd") == pytest.approx(1.0)


def test_seeds_and_least_videos(tmp_path: Path) -> None:
    root = planted(tmp_path)
    assert floors(root, seed=1) == floors(root, seed=1) != floors(root, seed=2)
    assert floors(root, seed=1)["counts"]["validation_positives"] == 3
    with pytest.raises(InputError, match="no user has 9 videos"):
        floors(root, least_videos=9)
    with pytest.raises(InputError, match="has no labels"):
        floors(tmp_path / "empty")


def test_groups_by_training_positives(tmp_path: Path) -> None:
    found = floors(planted(tmp_path))
    assert {row["group"] for row in found["by_sparsity"]} == {"[0, 8)"}
    assert {row["metric"] for row in found["by_sparsity"]} == {"map", "hr@5", "ndcg@5"}


def test_on_the_published_labels_earlier_is_better(tmp_path: Path) -> None:
    """Nobody needs a network to beat chance there: selections lie early."""
    need("data", PHD2.exists())
    sources.write_source(tmp_path, sources.read(PHD2, "phd2"))
    labels.write_labels(tmp_path)
    found = floors(tmp_path)
    ap = next(r for r in found["last_videos"] if (r["row"], r["metric"]) == ("early first", "highlight_ap"))
    assert ap["minus_random_low"] > 0
    level = [round(mean(found, row, "map", "last_videos"), 3) for row in ("random", "early first")]
    assert level == [0.186, 0.204]
    assert mean(found, "random", "nmsd") == pytest.approx(0.5, abs=0.01)
    marked = sum(value for name, value in found["counts"].items() if name.startswith("last_video"))
    assert marked == 421  # of 424 users: the last video of three has no known duration, so that its rows are rejects
