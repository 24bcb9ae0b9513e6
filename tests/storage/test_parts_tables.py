"""The promise of the part files, and the tables that are made of them."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reelmill.storage import Outcome, Outcomes, Tables, parts, verify
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.schema import SCHEMAS, UNIT


def commit(folder: Path, text: str = "x", **options: int) -> Path:
    """Write one part and return its path."""
    part = parts.new_part(folder, ".txt", **options)
    with part as path:
        path.write_text(text)
    return part.committed


def label(user: str, video: str, segment: int = 0) -> dict[str, object]:
    return {"user_id": user, "video_id": video, "segment_index": segment, "covered_ms": 5000}


def seen(tables: Tables) -> set[tuple[str, str]]:
    """(video, user) of every label."""
    return {(r["video_id"], r["user_id"]) for r in tables.read("labels").to_pylist()}


def test_a_part_is_visible_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    part = parts.new_part(folder, ".txt")
    with part as path:
        path.write_text("half")
        assert parts.list_parts(folder) == []
    assert parts.list_parts(folder) == [part.committed]
    assert part.committed.read_text() == "half"
    assert list(folder.glob(".*")) == []


def test_a_failed_part_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with parts.new_part(tmp_path, ".txt") as path:
            path.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_parts_sort_by_age_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = commit(tmp_path)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    second, third = commit(tmp_path), commit(tmp_path)
    assert parts.list_parts(tmp_path) == [first, second, third]
    assert parts.newest(tmp_path) == parts.sequence(third)
    replacing = commit(tmp_path, number=parts.sequence(first))
    assert parts.sequence(replacing) == parts.sequence(first)


def test_sweep_removes_what_the_dead_left(tmp_path: Path) -> None:
    (tmp_path / "part-keep.tmp-me-1").touch()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    here = socket.gethostname()
    dead = tmp_path / f".part-aa.tmp-{here}-{child}"
    alive = tmp_path / f".part-bb.tmp-{here}-{os.getpid()}"
    away = tmp_path / ".part-cc.tmp-other-host-1"
    forgotten = tmp_path / ".part-dd.tmp-other-host-1"
    odd = tmp_path / ".part-ee.tmp-nobody"
    for path in (dead, alive, away, forgotten, odd):
        path.write_text("half")
    os.utime(forgotten, (0, 0))
    assert set(parts.sweep(tmp_path)) == {dead, forgotten}
    assert {p for p in tmp_path.iterdir() if p.name.startswith(".")} == {alive, away, odd}


def test_a_stranger_is_skipped_and_counted(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.write("labels", [label("u", "a")])
    stranger = tables.folder / "labels" / "part-0.parquet"
    stranger.write_bytes(b"PAR1")
    assert seen(tables) == {("a", "u")}
    tables.write("labels", [label("u", "b")])
    assert seen(tables) == {("a", "u"), ("b", "u")}
    (found,) = verify.tables(tmp_path)
    assert (found.name, found.strays, found.parts, found.wrong) == ("labels", ["part-0.parquet"], 2, [])
    assert stranger.exists()


def test_files_that_are_no_parts_are_ignored(tmp_path: Path) -> None:
    part = commit(tmp_path)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "part-folder").mkdir()
    assert parts.list_parts(tmp_path) == [part]
    assert parts.list_parts(tmp_path / "none") == []
    assert parts.list_parts(part) == []


def test_a_newer_part_replaces_the_units_it_covers(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    assert tables.read("labels").num_rows == 0
    tables.write("labels", [label("u", "a"), label("v", "a"), label("u", "b")])
    tables.write("labels", [label("w", "a")])
    assert seen(tables) == {("a", "w"), ("b", "u")}
    assert tables.write("labels", [], covers=["b", "never-seen"]) == 0
    assert seen(tables) == {("a", "w")}
    assert tables.units("labels") == {"a"}
    tables.write("labels", [label("x", "b")])
    assert seen(tables) == {("a", "w"), ("b", "x")}
    assert tables.read("labels", ["user_id"]).column_names == ["user_id"]


def test_writing_nothing_writes_nothing(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    assert tables.write("labels", []) == 0
    assert not tables.folder.exists()


def test_random_histories_read_as_a_dictionary_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables, model = Tables(tmp_path), dict[str, set[str]]()
    for step in range(60):
        units = [f"v{n}" for n in rng.choice(8, rng.integers(1, 4), replace=False)]
        users = {unit: {f"{step}-{n}" for n in range(rng.integers(0, 3))} for unit in units}
        tables.write("labels", [label(u, unit) for unit in units for u in users[unit]], covers=units)
        model.update(users)
        if step % 17 == 16:
            age = parts.newest(tables.folder / "labels")
            before, after = tables.compact("labels", part_bytes=int(rng.integers(1, 20_000)))
            assert after <= before
            assert parts.newest(tables.folder / "labels") == age, "what is written meanwhile is newer"
        assert seen(tables) == {(unit, user) for unit, users in model.items() for user in users}
    assert tables.compact("labels")[1] == 1
    assert tables.compact("labels") == (1, 1)
    assert seen(tables) == {(unit, user) for unit, users in model.items() for user in users}


def test_compaction_keeps_what_a_part_unsaid(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.write("labels", [label(f"u{n}", "a") for n in range(5000)])
    tables.write("labels", [], covers=["a"])
    tables.write("labels", [label("u", "b")])
    size = max(p.stat().st_size for p in parts.list_parts(tables.folder / "labels"))
    assert tables.compact("labels", part_bytes=size) == (3, 2)
    assert seen(tables) == {("b", "u")}


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    with pytest.raises(InputError, match="did you mean 'labels'"):
        tables.read("lables")
    with pytest.raises(InputError, match="did you mean 'user_id'"):
        tables.read("labels", ["userid"])
    for rows, message in (
        ([{**label("u", "a"), "userid": 1}], "no column 'userid'"),
        (pa.table({"video_id": ["a"], "titel": ["t"]}), "no column 'titel'"),
        ([{"user_id": "u", "video_id": None, "segment_index": 0, "covered_ms": 1}], "'video_id' may not be null"),
        ([{"user_id": "u"}], "may not be null"),
        ([label("u", "a", 2**40)], "do not fit"),
        ([label(7, "a")], "do not fit"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=message):
            tables.write("labels", rows)
    assert not tables.folder.exists()


def test_nullable_columns_may_be_absent(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.write("videos", [{"video_id": "a"}])
    tables.write("videos", pa.table({"video_id": ["b"], "title": ["t"]}))
    assert [(r["video_id"], r["title"]) for r in tables.read("videos").to_pylist()] == [("a", None), ("b", "t")]


def test_parts_of_an_older_schema_are_read(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    with parts.new_part(tables.folder / "videos", ".parquet") as path:
        pq.write_table(pa.table({"video_id": ["a"]}), path)
    assert tables.read("videos").to_pylist()[0]["tags"] is None
    with parts.new_part(tables.folder / "videos", ".parquet") as path:
        pq.write_table(pa.table({"title": ["t"]}), path)
    with pytest.raises(CorruptPart, match="'video_id' may not be null"):
        tables.read("videos")


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "flipped"])
def test_a_damaged_part_is_named(tmp_path: Path, damage: str) -> None:
    tables = Tables(tmp_path)
    tables.write("labels", [label(f"u{n}", "a", n) for n in range(1000)])
    (part,) = parts.list_parts(tables.folder / "labels")
    good = part.read_bytes()
    middle = len(good) // 4
    part.write_bytes({
        "cut": good[: len(good) // 2],
        "empty": b"",
        "foreign": b"user_id,video_id\nu,a\n",
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
    }[damage])  # fmt: skip
    with pytest.raises(CorruptPart, match=rf"{part.name} cannot be read.*move it away"):
        tables.read("labels")


def test_any_parquet_reader_opens_a_table(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.write("labels", [label("u", "a")])
    tables.write("labels", [label("u", "b")], covers=["c"])
    (tables.folder / "labels" / ".part-x.tmp-host-1").write_text("half")
    read = pyarrow.dataset.dataset(tables.folder / "labels").to_table()
    assert read["video_id"].to_pylist() == ["a", "b"]
    assert read.schema.names == tables.read("labels").schema.names


def test_roots(tmp_path: Path) -> None:
    assert Tables(f"file://{tmp_path}").folder == tmp_path / "tables"
    for root, message in (
        ("nope://bucket/root", "no driver for 'nope'"),
        ("gs://bucket/root", "no driver for 'gs'.*gcsfs"),
        ("https://example.org/root", "cannot be written to"),
        ("s3:///root", "names no bucket"),
        (Path("s3://bucket/root"), "was a URL before it was a Path"),
    ):
        with pytest.raises(InputError, match=message):
            Tables(root)
    with pytest.raises(InputError, match="no key or password") as caught:
        Tables("s3://AKIA123:geheim@bucket/root")
    assert "geheim" not in str(caught.value)
    assert "AKIA123" not in str(caught.value)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Nothing is read-only to root: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_read_only_root_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below the folder of the tests, which is root's alone
        root = Path(folder)
        root.chmod(0o555)
        with without_rights(), pytest.raises(PermissionError):
            Tables(root).write("labels", [label("u", "a")])
        assert not list(root.iterdir())


def test_the_newest_outcome_counts(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path)
    assert outcomes.latest("download") == {}
    outcomes.write([
        Outcome("download", "a", "failed", error_class="removed", permanent=True),
        Outcome("download", "b", "failed", error_class="removed", permanent=True),
        Outcome("download", "c", "failed", error_class="network", permanent=False),
        Outcome("extract", "a", "failed", spec="c3d", error_class="corrupt", permanent=True),
    ])  # fmt: skip
    outcomes.write([Outcome("download", "a", "done")])
    assert {k: r["status"] for k, r in outcomes.latest("download").items()} == {
        "a": "done",
        "b": "failed",
        "c": "failed",
    }
    assert outcomes.permanently_failed("download") == {None: {"b"}}
    assert outcomes.permanently_failed("extract") == {"c3d": {"a"}}
    rows = outcomes.newest(["status"]).to_pylist()
    assert [(row["stage"], row["key"], row["status"]) for row in rows] == [
        ("download", "a", "done"), ("download", "b", "failed"), ("download", "c", "failed"), ("extract", "a", "failed"),
    ]  # fmt: skip


def test_a_probe_is_the_end_of_its_download(tmp_path: Path) -> None:
    """What could be fetched and not measured has failed; trying again, which a newer outcome asks for, overrules it."""
    outcomes = Outcomes(tmp_path)
    outcomes.write([Outcome("download", "a", "done"), Outcome("probe", "a", "failed", permanent=True)])
    assert outcomes.permanently_failed("download") == {None: {"a"}}
    assert [row["status"] for row in outcomes.newest(join_probe=True).to_pylist()] == ["failed"]
    assert len(outcomes.newest()) == 2
    outcomes.write([Outcome("download", "a", "failed", permanent=False)])
    assert outcomes.permanently_failed("download") == {}


def test_an_unknown_error_keeps_the_end_of_its_traceback() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            raise ValueError("the reason " + "x" * 500)
        dive(depth - 1)

    with pytest.raises(ValueError, match="reason") as caught:
        dive(200)
    outcome = Outcome.failure("extract", "a", caught.value)
    assert (outcome.error_class, outcome.permanent) == ("unknown", False)
    assert outcome.message is not None
    assert len(outcome.message) <= 4000
    assert outcome.message.rstrip().endswith("x" * 500)


@pytest.mark.parametrize("name", [name for name, unit in UNIT.items() if unit is None])
def test_every_log_is_read_from_many_parts_each_row_once(tmp_path: Path, name: str) -> None:
    """Two measurements that differ in any one column are two; a part that a cut-short merge left counts once."""
    tables, filled = Tables(tmp_path), {"string": "a", "double": 1.5, "int32": 1, "bool": True}
    row = {f.name: filled.get(str(f.type), datetime(2026, 1, 1, tzinfo=UTC)) for f in SCHEMAS[name]}
    later = {**row, "time": datetime(2026, 1, 2, tzinfo=UTC)}
    for written in (row, later, later):
        tables.write(name, [written])
    assert tables.read(name).to_pylist() == [row, later]
    assert tables.read(name, ["seconds"]).num_rows == 2
    assert tables.compact(name) == (3, 1)
    assert tables.read(name).to_pylist() == [row, later]
