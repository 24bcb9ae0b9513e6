"""Rows of one source written in batches: one part, or nothing where nothing is new."""

import signal
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from reelmill.storage import Tables, parts
from reelmill.storage.schema import SCHEMAS
from reelmill.storage.shield import committing


def events(source: str, users: list[str], kind: str = "rating") -> pa.Table:
    rows = [
        {"user_id": user, "video_id": "v", "kind": kind, "source": source, "source_row": row}
        for row, user in enumerate(users, 1)
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["events"])


def written(tables: Tables, source: str, rows: pa.Table, cuts: list[int]) -> bool:
    with tables.replacing("events", source) as unit:
        for start, stop in zip([0, *cuts], [*cuts, rows.num_rows], strict=True):
            unit.add(rows.slice(start, stop - start))
    return unit.written


def files(tables: Tables) -> list[str]:
    return [part.name for part in parts.list_parts(tables.folder / "events")]


def test_the_same_rows_are_written_once_however_they_are_cut(tmp_path: Path) -> None:
    tables, rows = Tables(tmp_path), events("a", [f"u{n}" for n in range(50)])
    assert written(tables, "a", rows, [10, 10, 31])
    assert written(tables, "b", events("b", ["x"]), [])
    before = files(tables)
    assert not written(tables, "a", rows, [7])
    assert files(tables) == before
    assert written(tables, "a", rows.slice(0, 49), [20])
    assert [len(tables.read("events").filter(pc.field("source") == name)) for name in "ab"] == [49, 1]
    assert written(tables, "a", rows.slice(0, 0), [])
    assert not written(tables, "a", rows.slice(0, 0), [])
    assert tables.read("events")["source"].to_pylist() == ["b"]


def test_an_error_leaves_the_table_as_it_is(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    written(tables, "a", events("a", ["u"]), [])

    def fail() -> None:
        with tables.replacing("events", "a") as unit:
            unit.add(events("a", ["other"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tables.read("events")["user_id"].to_pylist() == ["u"]
    assert len(list((tables.folder / "events").iterdir())) == 1


def test_a_signal_ends_a_long_write(tmp_path: Path) -> None:
    """Only the commit itself is shielded: a source may take minutes to read."""
    tables = Tables(tmp_path)
    written(tables, "a", events("a", ["u"]), [])
    before = signal.getsignal(signal.SIGINT)

    def interrupted() -> None:
        with tables.replacing("rejects", "a"), tables.replacing("events", "a") as unit:
            unit.add(events("a", ["other"]))
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the signal was not handled")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tables.read("events")["user_id"].to_pylist() == ["u"]
    assert not written(tables, "a", events("a", ["u"]), [])
    assert signal.getsignal(signal.SIGINT) is before
    assert not committing()
    assert len(list((tables.folder / "events").iterdir())) == 1


def test_rows_that_are_wanted_are_those_of_the_whole_table(tmp_path: Path) -> None:
    """Over parts that replace others, and parts that empty a source."""
    tables, rng = Tables(tmp_path), Random(0)
    for _ in range(12):
        source, kind = rng.choice("abc"), rng.choice(["rating", "highlight"])
        tables.write("events", events(source, ["u"] * rng.randint(0, 4), kind), covers=[source])
        rows = tables.read("events", ["user_id", "kind", "source"])
        expected = rows.filter(pc.equal(rows["kind"], "highlight"))
        assert tables.read_where("events", ["user_id", "kind", "source"], "kind", ["highlight"]).equals(expected)
