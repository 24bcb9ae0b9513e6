"""`reelmill sql` and `ROOT/views.sql`: DuckDB sees the rows that `Tables` and `FeatureStore` see, and no other."""

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from reelmill.flows.cli.app import app
from reelmill.flows.jobs.sql import ask, write_views
from reelmill.storage import FeatureWriter, Spec, Tables, open_store, parts
from reelmill.storage import compact as packing
from reelmill.storage.errors import InputError, StoreError
from reelmill.storage.place import place
from reelmill.storage.schema import SCHEMAS, UNIT
from reelmill.storage.tables import LOGGED
from reelmill.storage.views import TYPES
from tests.stores import SPEC, block

ODD = ["plain", "it's", 'a "quote"', "back\\slash", "tab\tand\nline", "日本語", "😀", "007", "[a]*?", ""]
"""Ids that SQL, JSON or a pattern could take for something else."""


def value(kind: pa.DataType, rng: np.random.Generator) -> Any:
    """A random value of a column."""
    if pa.types.is_list(kind):
        return rng.choice(ODD, rng.integers(0, 4)).tolist()
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(rng.integers(0, 10**10)))
    if pa.types.is_boolean(kind):
        return bool(rng.integers(2))
    if pa.types.is_integer(kind):
        return int(rng.integers(0, 1000))
    if pa.types.is_floating(kind):
        return float(rng.random())
    if pa.types.is_binary(kind):
        return rng.bytes(5)
    return str(rng.choice(ODD))


def random_row(name: str, rng: np.random.Generator) -> dict[str, Any]:
    return {
        field.name: None if field.nullable and rng.random() < 0.2 else value(field.type, rng) for field in SCHEMAS[name]
    }


def write_history(root: Path, seed: int = 0, histories: int = 6) -> None:
    """Every table in several parts, most of whose units are replaced later, some by nothing."""
    rng, tables = np.random.default_rng(seed), Tables(root)
    for name in SCHEMAS:
        before: list[dict[str, Any]] = []
        for _ in range(histories):
            rows = [random_row(name, rng) for _ in range(rng.integers(1, 8))]
            if UNIT[name] is None:
                rows += before[:3]
                before = rows
            tables.write(name, rows, covers=rng.choice(ODD, 2).tolist() if UNIT[name] else ())


def as_bag(rows: list[tuple[Any, ...]]) -> list[str]:
    return sorted(map(repr, rows))


def of_tables(root: Path | str, name: str) -> list[str]:
    return as_bag([tuple(row.values()) for row in Tables(root).read(name).to_pylist()])


def answers(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return database.execute(query).fetchall()


@contextlib.contextmanager
def opened(root: Path, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that knows nothing of reelmill, in this folder, with the views of `root/views.sql`."""
    write_views(str(root))
    before = Path.cwd()
    os.chdir(folder)
    try:
        with duckdb.connect(":memory:") as database:
            database.execute("SET TimeZone = 'UTC'")
            if folder != root:
                database.execute(f"SET file_search_path = '{root}'")
            database.execute((root / "views.sql").read_text())
            yield database
    finally:
        os.chdir(before)


def same_as_tables(root: Path, database: duckdb.DuckDBPyConnection) -> None:
    for name in SCHEMAS:
        rows = [
            tuple(one.astimezone(UTC) if isinstance(one, datetime) else one for one in row)
            for row in answers(database, f"SELECT * FROM {name}")
        ]
        assert as_bag(rows) == _utc(of_tables(root, name)), name
        described = [(str(row[0]), str(row[1])) for row in answers(database, f"DESCRIBE {name}")]
        names = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
        assert described == [(f.name, names.get(TYPES[f.type], TYPES[f.type])) for f in SCHEMAS[name]]


def _utc(bag: list[str]) -> list[str]:
    """Zones of pyarrow as Python writes its own."""
    return sorted(
        row.replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc").replace("<UTC>", "") for row in bag
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_table_is_that_of_tables_before_and_after_compact(tmp_path: Path, seed: int) -> None:
    write_history(tmp_path, seed)
    tables = Tables(tmp_path)
    replaced = [n for n in SCHEMAS if sum(pq.read_table(p).num_rows for p in parts.list_parts(tables.folder / n))
                > tables.read(n).num_rows]  # fmt: skip
    assert len(replaced) >= 9, "the histories replace rows in nearly every table"
    for _ in range(2):
        with opened(tmp_path, tmp_path) as database:
            same_as_tables(tmp_path, database)
        for name in SCHEMAS:
            by_verb = ask(str(tmp_path), f"SELECT count(*) FROM {name}").rows
            assert by_verb == [[tables.read(name).num_rows]]
            tables.compact(name)
    assert len(parts.list_parts(tables.folder / "labels")) == 1


def test_videos_count_once_and_labels_join_once(tmp_path: Path) -> None:
    """The figures of the demo: a source, then the web pages, say something of each of 24 videos."""
    tables = Tables(tmp_path)
    for title in ("from the source", "from the page"):
        tables.write("videos", [{"video_id": f"v{n}", "title": title} for n in range(24)])
    liked = [
        {"user_id": f"u{n}", "video_id": f"v{n % 24}", "segment_index": n, "covered_ms": 3000} for n in range(2713)
    ]
    tables.write("labels", liked)
    scan = f"'{tmp_path}/tables/%s/part-*.parquet'"
    assert duckdb.sql(f"SELECT count(*) FROM {scan % 'videos'}").fetchall() == [(48,)]
    joined = f"SELECT count(*) FROM {scan % 'labels'} JOIN {scan % 'videos'} USING (video_id)"
    assert duckdb.sql(joined).fetchall() == [(5426,)]
    for _ in range(2):
        assert ask(str(tmp_path), "SELECT count(*), any_value(title) FROM videos").rows == [[24, "from the page"]]
        assert ask(str(tmp_path), "SELECT count(*) FROM labels JOIN videos USING (video_id)").rows == [[2713]]
        with opened(tmp_path, tmp_path) as database:
            assert answers(database, "SELECT count(*) FROM videos") == [(24,)]
            assert answers(database, "SELECT count(*) FROM labels JOIN videos USING (video_id)") == [(2713,)]
        tables.compact("videos")


def test_a_log_counts_each_row_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name in LOGGED:
        rows = [random_row(name, rng) for _ in range(5)]
        for again in (rows, rows[2:]):
            Tables(tmp_path).write(name, again)
        assert ask(str(tmp_path), f"SELECT count(*) FROM {name}").rows == [[5]]
        with opened(tmp_path, tmp_path) as database:
            assert answers(database, f"SELECT count(*) FROM {name}") == [(5,)]


def test_parts_of_an_older_schema_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "tables" / "videos"
    with parts.new_part(folder, ".parquet") as path:
        pq.write_table(pa.table({"video_id": ["a", "b"]}), path)
    Tables(tmp_path).write("videos", [{"video_id": "b", "title": "t"}])
    assert ask(str(tmp_path), "SELECT video_id, title FROM videos ORDER BY 1").rows == [["a", None], ["b", "t"]]


def test_new_parts_appear_in_a_file_of_views_that_is_older(tmp_path: Path) -> None:
    Tables(tmp_path).write("videos", [{"video_id": "a"}])
    with opened(tmp_path, tmp_path) as database:
        Tables(tmp_path).write("videos", [{"video_id": "a", "title": "newer"}, {"video_id": "b"}])
        assert answers(database, "SELECT video_id, title FROM videos ORDER BY 1") == [("a", "newer"), ("b", None)]
        assert answers(database, "SELECT count(*) FROM labels") == [(0,)]
        Tables(tmp_path).write("labels", [{"user_id": "u", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
        with pytest.raises(duckdb.Error, match="labels has rows by now"):
            answers(database, "SELECT count(*) FROM labels")


def test_the_views_move_with_the_root_and_are_read_from_anywhere(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "year=2026" / "video_id=no"
    write_history(old, 7)
    write_views(str(old))
    assert str(tmp_path) not in (old / "views.sql").read_text()
    new.parent.mkdir()
    old.rename(new)
    for folder in (new, tmp_path):
        with opened(new, folder) as database:
            same_as_tables(new, database)
            assert all(answers(database, f"SELECT count(*) FROM {n}") for n in SCHEMAS)


@pytest.mark.parametrize("name", ["a [b] *?", "it's", "日本語"])
def test_a_root_may_be_called_anything(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    write_history(root, 9, histories=3)
    for table in SCHEMAS:
        assert ask(str(root), f"SELECT count(*) FROM {table}").rows == [[Tables(root).read(table).num_rows]]
    with opened(root, root) as database:
        same_as_tables(root, database)


# Feature stores


def write_store(root: Path, spec: Spec, format: str = "parquet") -> None:
    """Videos of which some are replaced, one of them by a block without rows."""
    for seed, sizes in enumerate([{"a": 5, "b": 3, "it's": 2}, {"b": 4, "c": 1}, {"a": 2, "c": 0}]):
        with FeatureWriter(root, spec, format) as writer:  # type: ignore[arg-type]
            for video, rows in sizes.items():
                writer.add(block(video, rows, seed=seed, spec=spec))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_store_has_a_row_a_segment_and_its_vectors(tmp_path: Path, dtype: str) -> None:
    spec = Spec("c3d", "fc6", 24, "segment", dtype=dtype)  # type: ignore[arg-type]
    write_store(tmp_path, spec)
    query = f'SELECT * FROM features."{spec.name}" ORDER BY video_id, segment_index'
    for _ in range(2):
        expected = [
            (b.video_id, i, int(b.start_ms[k]), int(b.stop_ms[k]), int(b.mask[k]), b.features[k].astype(np.float32))
            for b in sorted(open_store(tmp_path, spec.name).blocks(), key=lambda b: b.video_id)
            for k, i in enumerate(b.segment_index.tolist())
        ]
        assert [row[0] for row in expected] == ["a"] * 2 + ["b"] * 4 + ["it's"] * 2
        result = ask(str(tmp_path), query)
        assert [column.type for column in result.columns][-1] == "FLOAT[]"
        with opened(tmp_path, tmp_path) as database:
            for found in (result.rows, answers(database, query)):
                assert [tuple(row[:5]) for row in found] == [row[:5] for row in expected]
                vectors = np.array([row[5] for row in found], np.float32)  # in JSON a number that is none is null
                assert np.array_equal(vectors, np.array([row[5] for row in expected]), equal_nan=True)
        packing.compact(tmp_path, spec.name)


def test_a_store_in_hdf5_says_how_to_export_it(tmp_path: Path) -> None:
    write_store(tmp_path, SPEC, "hdf5")
    query = f'SELECT count(*) FROM features."{SPEC.name}"'
    with pytest.raises(InputError, match=f"`reelmill export {SPEC.name} --root ROOT --to ROOT2 --format parquet`"):
        ask(str(tmp_path), query)
    said = CliRunner().invoke(app, ["export", SPEC.name, "--root", str(tmp_path), "--to", str(tmp_path / "two")])
    assert said.exit_code == 0
    assert ask(str(tmp_path / "two"), query).rows == [[8]]


def test_a_store_that_gets_a_shard_in_hdf5_is_never_read_in_part(tmp_path: Path) -> None:
    write_store(tmp_path, SPEC)
    query = f'SELECT count(*) FROM features."{SPEC.name}"'
    with opened(tmp_path, tmp_path) as database:
        assert answers(database, query) == [(8,)]
        with FeatureWriter(tmp_path, SPEC, "hdf5") as writer:
            writer.add(block("a", 1))
        with pytest.raises(duckdb.Error, match="reelmill export"):
            answers(database, query)
    with pytest.raises(InputError, match="reelmill export"):
        ask(str(tmp_path), query)


def test_an_object_store_gives_what_the_query_names(s3_root: str) -> None:
    """Newest by the names of parts, which lie in folders of their own in the cache."""
    tables = Tables(s3_root)
    for title in ("old", "new", "newest"):
        tables.write("videos", [{"video_id": video, "title": title} for video in "abc"])
    with FeatureWriter(s3_root, SPEC, "parquet") as writer:
        writer.add(block("a", 4))
    assert ask(s3_root, "SELECT count(*), any_value(title) FROM videos").rows == [[3, "newest"]]
    joined = f'SELECT count(*) FROM features."{SPEC.name}" JOIN videos USING (video_id)'
    assert ask(s3_root, joined).rows == [[4]]
    with pytest.raises(InputError, match="labels was not fetched"):
        ask(s3_root, "SELECT * FROM query_table('lab' || 'els')")
    assert write_views(s3_root).views == f"{s3_root}/views.sql"
    text = parts.read_file(place(s3_root) / "views.sql").decode()
    assert f"'{s3_root}/tables/videos/part-*.parquet'" in text


# The command


def command(*arguments: str) -> tuple[int, str, BaseException | None]:
    ended = CliRunner().invoke(app, ["sql", *arguments])
    return ended.exit_code, ended.stdout, ended.exception


def test_the_answer_as_a_table_and_as_json(tmp_path: Path) -> None:
    write_history(tmp_path)
    Tables(tmp_path).write("labels", [{"user_id": "[u]", "video_id": "v", "segment_index": 3, "covered_ms": 4000}])
    query = "SELECT user_id, sum(covered_ms) AS total, 0.5 AS half FROM labels WHERE video_id = 'v' GROUP BY 1"
    status, text, _ = command(query, "--root", str(tmp_path))
    assert (status, [line.split() for line in text.splitlines() if "[u]" in line]) == (0, [["[u]", "4000", "0.5"]])
    status, text, _ = command(query, "--root", str(tmp_path), "--json")
    assert status == 0
    assert json.loads(text) == {
        "columns": [
            {"name": "user_id", "type": "VARCHAR"},
            {"name": "total", "type": "HUGEINT"},
            {"name": "half", "type": "DECIMAL(2,1)"},
        ],
        "rows": [["[u]", 4000, 0.5]],
    }
    other = "SELECT 'nan'::FLOAT, '\\xff00'::BLOB, TIMESTAMPTZ '2026-01-31 10:00:00+00', [1, NULL], {'a': 1}"
    assert json.loads(command(other, "--root", str(tmp_path), "--json")[1])["rows"] == [
        [None, "ff3030", "2026-01-31T10:00:00+00:00", [1, None], {"a": 1}]
    ]
    assert ask(str(tmp_path), "SHOW TABLES").rows == [[name] for name in sorted(SCHEMAS)]


def test_views_are_written_where_it_says(tmp_path: Path) -> None:
    write_history(tmp_path)
    status, text, _ = command("--views", "--root", str(tmp_path), "--json")
    assert (status, json.loads(text)["views"]) == (0, str(tmp_path / "views.sql"))
    assert "reelmill sql --views" in (tmp_path / "views.sql").read_text()


def test_a_root_is_only_read(tmp_path: Path) -> None:
    write_history(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    target = tmp_path / "out.csv"
    for query in (
        f"COPY labels TO '{target}'",
        f"EXPLAIN ANALYZE COPY labels TO '{target}'",
        "DROP VIEW labels",
        "SELECT 1; SELECT 2",
        "",
    ):
        with pytest.raises(InputError, match="one SELECT"):
            ask(str(tmp_path), query)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM label", r"SQL: Catalog Error: Table with name label does not exist! Did you mean .*"),
        ("SELECT vido_id FROM labels", r"SQL: Binder Error: .*vido_id.*"),
        ("SELEC 1", r"SQL: Parser Error: .*"),
        ("SELECT 'x'::INT", r"SQL: Conversion Error: .*"),
    ],
)
def test_an_error_of_the_query_is_one_line(tmp_path: Path, query: str, said: str) -> None:
    write_history(tmp_path, histories=1)
    with pytest.raises(InputError, match=f"^{said}$") as error:
        ask(str(tmp_path), query)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for arguments, said in (
        (("SELECT 1", "--root", str(tmp_path / "no")), "is not a folder"),
        ((), "give a QUERY, or --views"),
        (("SELECT 1", "--views", "--root", str(tmp_path)), "give a QUERY, or --views"),
    ):
        status, text, error = command(*arguments)
        assert (status, text) == (1, "")
        assert isinstance(error, InputError)
        assert said in str(error)


def test_a_damaged_part_is_no_empty_table(tmp_path: Path) -> None:
    Tables(tmp_path).write("labels", [{"user_id": "u", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
    (part,) = parts.list_parts(tmp_path / "tables" / "labels")
    assert isinstance(part, Path)
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises((StoreError, InputError), match=part.name):
        ask(str(tmp_path), "SELECT * FROM labels")
