"""Grids and labels, against plain statements of their rules."""

import csv
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelmill.pipeline import labels as labels_module
from reelmill.pipeline import sources
from reelmill.pipeline.labels import label, write_labels
from reelmill.pipeline.segments import grid
from reelmill.storage import Tables, parts
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS
from tests.optional import need

DATA = Path(__file__).parents[3] / "shared" / "data"

Record = tuple[str, str, int, int]  # user, video, start, stop
Labels = dict[tuple[str, str, int], int]  # (user, video, segment) -> covered ms


def plain_labels(records: Sequence[Record], durations: Mapping[str, int], length: int, theta: Fraction) -> Labels:
    """The 50 % rule, one record and one segment at a time."""
    found: Labels = {}
    for user, video, start, stop in records:
        if video not in durations:
            continue
        for index in range(-(-durations[video] // length)):
            left, right = index * length, min((index + 1) * length, durations[video])
            covered = max(0, min(stop, right) - max(start, left))
            if Fraction(covered, right - left) > theta:
                key = (user, video, index)
                found[key] = max(found.get(key, 0), covered)
    return found


def events_of(records: Sequence[Record], kind: str = "highlight") -> pa.Table:
    rows = [
        {"user_id": u, "video_id": v, "kind": kind, "start_ms": a, "stop_ms": b, "source": "s", "source_row": i + 1}
        for i, (u, v, a, b) in enumerate(records)
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["events"])


def as_dict(table: pa.Table) -> Labels:
    assert table.schema.equals(SCHEMAS["labels"])
    rows = table.to_pylist()
    found = {(r["user_id"], r["video_id"], r["segment_index"]): r["covered_ms"] for r in rows}
    assert len(found) == len(rows)
    return found


# ---- segments --------------------------------------------------------------------------------------------------------


def test_grid_covers_each_video_once() -> None:
    table = grid(["a", "b", "c", "d"], [12_000, 5000, 1, 10_001], duration_source=pa.array(["measured", "claimed"] * 2))
    assert table.schema.equals(SCHEMAS["segments"])
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == [
        ("a", 0, 0, 5000, "measured"), ("a", 1, 5000, 10_000, "measured"), ("a", 2, 10_000, 12_000, "measured"),
        ("b", 0, 0, 5000, "claimed"), ("c", 0, 0, 1, "measured"),
        ("d", 0, 0, 5000, "claimed"), ("d", 1, 5000, 10_000, "claimed"), ("d", 2, 10_000, 10_001, "claimed"),
    ]  # fmt: skip
    assert grid([], []).num_rows == 0
    assert grid(["a"], [7], 3, "claimed")["stop_ms"].to_pylist() == [3, 6, 7]


def test_grid_refuses_what_makes_no_sense() -> None:
    for duration in (0, -1):
        with pytest.raises(InputError, match=f"'b' lasts {duration} ms"):
            grid(["a", "b"], [1, duration])
    with pytest.raises(InputError, match="'a' is given more than once"):
        grid(["a", "b", "a"], [1, 2, 3])
    with pytest.raises(InputError, match="shape"):
        grid(["a"], [1, 2])
    with pytest.raises(InputError, match="segment_ms is 0"):
        grid(["a"], [1], 0)


# ---- the 50 % rule ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop", "liked"),
    [
        (0, 2500, []),  # exactly half
        (0, 2501, [0]),
        (2499, 5000, [0]),
        (2500, 7500, []),  # half of two
        (2499, 7501, [0, 1]),
        (0, 60_000, [0, 1, 2]),  # beyond the end, 12 s
        (10_000, 11_000, []),  # half of a short last one
        (10_000, 11_001, [2]),
        (11_000, 99_000, []),
        (10_999, 99_000, [2]),
        (12_000, 13_000, []),
        (-5000, 2501, [0]),
        (3000, 3000, []),
        (4000, 3000, []),
    ],
)
def test_more_than_half(start: int, stop: int, liked: list[int]) -> None:
    records = [("u", "v", start, stop)]
    found = as_dict(label(events_of(records), {"v": 12_000}))
    assert sorted(index for _, _, index in found) == liked
    assert found == plain_labels(records, {"v": 12_000}, 5000, Fraction(1, 2))


def test_records_are_not_added_up_and_the_best_counts() -> None:
    records = [("u", "v", 0, 2000), ("u", "v", 2000, 4000), ("u", "v", 5000, 8000), ("u", "v", 5500, 9900),
               ("t", "v", 5000, 8000), ("u", "elsewhere", 0, 5000)]  # fmt: skip
    table = label(events_of(records), (pa.array(["v"]), np.array([60_000])))
    assert as_dict(table) == {("u", "v", 1): 4400, ("t", "v", 1): 3000}


def test_only_ranges_of_the_wanted_kinds() -> None:
    table = pa.concat_tables([events_of([("u", "v", 0, 5000)], "watch"), events_of([("u", "v", 5000, 9000)])])
    durations = {"v": 10_000}
    assert set(as_dict(label(table, durations))) == {("u", "v", 1)}
    assert set(as_dict(label(table, durations, kinds=["watch", "highlight"]))) == {("u", "v", 0), ("u", "v", 1)}
    row = {"user_id": "u", "video_id": "v", "kind": "highlight", "source": "s", "source_row": 1}
    for part in ({"start_ms": 0}, {"stop_ms": 9000}, {"kind": "rating"}):
        assert label(pa.Table.from_pylist([row | part], SCHEMAS["events"]), durations).num_rows == 0
    whole = label(pa.Table.from_pylist([row], SCHEMAS["events"]), durations)
    assert set(as_dict(whole)) == {("u", "v", 0), ("u", "v", 1)}  # neither start nor stop: the whole video
    assert label(SCHEMAS["events"].empty_table(), {}).num_rows == 0


def test_theta_is_a_fraction() -> None:
    table = events_of([("u", "v", 0, 500)])
    for theta in (0.1, "0.1", Fraction(1, 10)):
        assert label(table, {"v": 5000}, theta=theta).num_rows == 0  # the binary 0.1 would be a hair more
        assert label(events_of([("u", "v", 0, 501)]), {"v": 5000}, theta=theta).num_rows == 1
    assert label(events_of([("u", "v", 0, 1)]), {"v": 5000}, theta=0).num_rows == 1
    for theta, match in ((1, "below 1"), (-0.1, "at least 0"), ("half", "no number"), (Fraction(1, 10**18), "digits")):
        with pytest.raises(InputError, match=match):
            label(table, {"v": 5000}, theta=theta)


records = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.integers(-20, 120), st.integers(0, 90)).map(
        lambda r: (r[0], r[1], r[2], r[2] + r[3])
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(
    records,
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 100)),
    st.integers(1, 30),
    st.fractions(0, 1, max_denominator=12).filter(lambda f: f < 1),
    st.sampled_from([1, 5, 1 << 22]),
)
@example([("u", "a", 0, 5)], {"a": 10}, 10, Fraction(1, 2), 1)
@example([("u", "a", 0, 6), ("u", "a", 0, 9)], {"a": 25}, 10, Fraction(1, 2), 1)
def test_labels_are_what_the_rule_says(
    records: list[Record], durations: dict[str, int], length: int, theta: Fraction, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels_module, "CELLS_AT_ONCE", at_once)
        table = label(events_of(records), durations, length, theta)
    assert as_dict(table) == plain_labels(records, durations, length, theta)
    order = {video: place for place, video in enumerate(durations)}
    places = [(order[r["video_id"]], r["segment_index"]) for r in table.to_pylist()]
    assert places == sorted(places)


# ---- in the tables of a root -----------------------------------------------------------------------------------------

MEDIA = {"uri": "x", "sha256": "0", "bytes": 1, "container": "mp4", "codec": "h264", "width": 1, "height": 1,
         "rotation": 0, "mean_fps": 25.0, "variable_rate": False, "frame_count": 1, "start_ms": 0}  # fmt: skip


def media(root: Path, **durations: int) -> None:
    Tables(root).write("media", [{**MEDIA, "video_id": v, "duration_ms": d} for v, d in durations.items()])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three videos, one without a duration; three records."""
    tables = Tables(tmp_path)
    claims = {"a": 12_000, "b": 20_000, "c": None}
    tables.write("videos", [{"video_id": v, "claimed_duration_ms": d} for v, d in claims.items()])
    tables.write("events", events_of([("u", "a", 0, 4000), ("u", "b", 4000, 10_000), ("t", "c", 0, 9000)]))
    return tmp_path


def number_of_parts(root: Path) -> int:
    return sum(len(parts.list_parts(root / "tables" / name)) for name in ("segments", "labels"))


def test_write_labels(root: Path) -> None:
    counts = write_labels(root)
    assert vars(counts) == {"videos": 2, "measured": 0, "segments": 7, "labels": 2, "users": 1, "events": 2,
                            "events_without_duration": 1, "videos_written": 2, "written": True}  # fmt: skip
    tables = Tables(root)
    assert set(tables.read("segments")["duration_source"].to_pylist()) == {"claimed"}
    assert as_dict(tables.read("labels")) == {("u", "a", 0): 4000, ("u", "b", 1): 5000}
    before = number_of_parts(root)
    again = write_labels(root)
    assert (again.written, again.videos_written, again.labels) == (False, 0, 2)
    assert number_of_parts(root) == before == 2


def test_only_changed_videos_are_written(root: Path) -> None:
    write_labels(root)
    tables = Tables(root)
    media(root, b=6000, c=9500)  # b is shorter than claimed: its second segment has 1 s; c is known at last
    counts = write_labels(root)
    assert (counts.videos, counts.measured, counts.videos_written, counts.events_without_duration) == (3, 2, 2, 0)
    assert as_dict(tables.read("labels")) == {
        ("u", "a", 0): 4000, ("u", "b", 1): 1000, ("t", "c", 0): 5000, ("t", "c", 1): 4000
    }  # fmt: skip
    rows = [tuple(row.values()) for row in tables.read("segments").to_pylist()]
    assert [row for row in rows if row[0] == "b"] == [("b", 0, 0, 5000, "measured"), ("b", 1, 5000, 6000, "measured")]
    assert not write_labels(root).written

    tables.write("events", events_of([("u", "b", 4000, 10_000), ("t", "c", 0, 9000)]))  # a lost its record
    counts = write_labels(root)
    assert (counts.videos, counts.videos_written, counts.labels, counts.users) == (3, 1, 3, 2)
    assert ("u", "a", 0) not in as_dict(tables.read("labels"))
    assert len(parts.list_parts(root / "tables" / "segments")) == 2  # grids stayed
    assert not write_labels(root).written


def test_other_settings_write_again(root: Path) -> None:
    write_labels(root)
    assert write_labels(root, theta=0.9).videos_written == 1  # only a's label goes
    assert as_dict(Tables(root).read("labels")) == {("u", "b", 1): 5000}
    counts = write_labels(root, segment_ms=6000)  # a has two full segments of 6 s now, b three and a short one
    assert (counts.segments, counts.videos_written) == (6, 2)
    assert as_dict(Tables(root).read("labels")) == {("u", "a", 0): 4000, ("u", "b", 1): 4000}
    same_number = write_labels(root, segment_ms=6500)
    assert (same_number.segments, same_number.videos_written) == (6, 2)


def test_a_same_duration_measured_is_said(root: Path) -> None:
    write_labels(root)
    media(root, a=12_000)
    counts = write_labels(root)
    assert (counts.videos_written, counts.measured) == (1, 1)
    said = Tables(root).read("segments")
    assert {(r["video_id"], r["duration_source"]) for r in said.to_pylist()} == {("a", "measured"), ("b", "claimed")}


def test_an_empty_root(tmp_path: Path) -> None:
    counts = write_labels(tmp_path)
    assert (counts.videos, counts.segments, counts.labels, counts.written) == (0, 0, 0, False)


# ---- real highlights -------------------------------------------------------------------------------------------------


def test_real_highlights(tmp_path: Path) -> None:
    path = DATA / "phd2" / "even_users.csv"
    need("data", path.exists())
    durations: dict[str, int] = {}
    records: list[Record] = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            end = round(float(row["video_duration"]) * 1000)
            start = round(float(row["start"]) * 1000)
            stop = round(float(row["start"]) * 1000 + float(row["duration"]) * 1000)
            if end > 0:
                durations[row["youtubeId"]] = end
                records.append((row["user_id"], row["youtubeId"], start, stop))
    plain: Labels = {}
    for user, video, start, stop in records:
        last = -(-durations[video] // 5000)
        for index in range(start // 5000, min(last, stop // 5000 + 1)):
            left, right = index * 5000, min(index * 5000 + 5000, durations[video])
            covered = min(stop, right) - max(start, left)
            if covered * 2 > right - left:
                plain[user, video, index] = max(covered, plain.get((user, video, index), 0))
    sources.write_source(tmp_path, sources.read(path, "phd2"))
    counts = write_labels(tmp_path)
    assert (counts.videos, counts.segments) == (len(durations), sum(-(-d // 5000) for d in durations.values()))
    assert (counts.labels, counts.users) == (len(plain), len({user for user, _, _ in plain}))
    assert as_dict(Tables(tmp_path).read("labels")) == plain
    table = Tables(tmp_path).read("segments")
    assert table.num_rows == counts.segments
    assert not write_labels(tmp_path).written
