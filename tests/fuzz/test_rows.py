"""Spoilt rows of every format that is read: each ends as an event or as a reject with its rule, and none is lost."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.pipeline import labels, sources
from reelmill.pipeline.sources import SourceResult
from reelmill.pipeline.sources.checks import REASONS
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.fuzz.spoil import HOSTILE, spoil_file, spoil_line

ROWS = 500
"""In a file."""
MAPPING = {"user_id": "u", "video_id": "v", "kind": "k", "start_s": "s", "stop_s": "e", "video_duration_s": "d",
           "time": "t", "value": "w"}  # fmt: skip
"""Every column of the file, none of them free text: so a row of a CSV is a line."""


class Kind(NamedTuple):
    """A format: name of the file, first lines, a good row by its number, and how it is read."""

    file: str
    head: bytes
    row: Callable[[int], bytes]
    separator: bytes
    options: dict[str, Any]


def _cells(n: int) -> tuple[object, ...]:
    return (
        f"u{n % 7}",
        f"v{n % 11}",
        ("highlight", "watch", "rating")[n % 3],
        n % 50 / 4,
        n % 50 / 4 + 5,
        60,
        n + 978300760,
        n % 5,
    )


KINDS = {
    "phd2": Kind("x.csv", b"youtubeId,start,duration,user_id,video_duration,is_last\n",
                 lambda n: f"v{n % 9},{n % 50 / 4},4.5,u{n % 7},60.0,{n % 2 == 0}".encode(), b",", {"format": "phd2"}),
    "dat": Kind("ratings.dat", b"", lambda n: f"{n % 7}::{n}::{n % 5}::{978300760 + n}".encode(), b"::",
                {"format": "movielens"}),
    "ratings": Kind("ratings.csv", b"userId,movieId,rating,timestamp\n",
                    lambda n: f"{n % 7},{n},{n % 5}.5,{978300760 + n}".encode(), b",", {"format": "movielens"}),
    "inter": Kind("x.inter", b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n",
                  lambda n: f"{n % 7}\t{n}\t{n % 5}\t{978300760 + n}".encode(), b"\t", {"format": "movielens"}),
    "mapped": Kind("y.csv", b"u,v,k,s,e,d,t,w\n", lambda n: ",".join(map(str, _cells(n))).encode(), b",",
                   {"format": "mapped", "mapping": MAPPING}),
    "jsonl": Kind("y.jsonl", b"", lambda n: json.dumps(dict(zip("uvksedtw", _cells(n), strict=True))).encode(), b",",
                  {"format": "mapped", "mapping": MAPPING}),
}  # fmt: skip


def account(result: SourceResult, rows: int) -> Counter[str]:
    """Every row of the source is in one of the tables, once, and a reject names a rule; how many there are of each."""
    events, rejects = (table["source_row"].to_pylist() for table in (result.events, result.rejects))
    assert result.rows == rows
    assert sorted(events + rejects) == list(range(1, rows + 1))
    reasons = Counter(result.rejects["reason"].to_pylist())
    assert reasons.keys() <= set(REASONS)
    result.events.validate(full=True)
    result.rejects.validate(full=True)
    result.videos.validate(full=True)
    return reasons + Counter(events=len(events))


def spoilt(kind: Kind, rng: Random, rows: int = ROWS) -> tuple[bytes, int]:
    """A file in which two rows of three are spoilt, and how many rows it has."""
    lines = []
    for number in range(rows):
        line = kind.row(number)
        lines.append(spoil_line(line, kind.separator, rng) if number and rng.random() < 0.67 else line)
    end = b"" if rng.random() < 0.2 and lines[-1] else b"\n"  # a last line without content and end is none
    return kind.head + rng.choice((b"\n", b"\r\n")).join(lines) + end, rows


def run(folder: Path, kind: Kind, seeds: range) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in seeds:
        data, rows = spoilt(kind, Random(f"{kind.file}-{seed}"))
        path = folder / kind.file
        if packed := seed % 5 == 4:
            path = folder / f"{kind.file}.gz"
        path.write_bytes(gzip.compress(data, 1) if packed else data)
        found += account(sources.read(path, **kind.options), rows)
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", KINDS)
def test_spoilt_rows_are_accounted_for(tmp_path: Path, name: str) -> None:
    """10,000 of them are spoilt in this and the next test."""
    found = run(tmp_path, KINDS[name], range(5))
    assert found.total() == 5 * ROWS
    assert found["events"] > 100, "good rows beside spoilt ones are read"
    assert found["malformed_row"] > 100
    assert len(found) > 4, "several rules are met"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", KINDS)
def test_many_spoilt_rows_are_accounted_for(tmp_path: Path, name: str) -> None:
    assert run(tmp_path, KINDS[name], range(5, 105)).total() == 100 * ROWS


def test_spoilt_rows_go_through_the_tables(tmp_path: Path) -> None:
    """What was read can be written, labelled and read again, and counts the same."""
    for name, kind in KINDS.items():
        data, rows = spoilt(kind, Random(name), 300)
        (tmp_path / kind.file).write_bytes(data)
        result = sources.read(tmp_path / kind.file, **kind.options, name=name)
        counts = sources.write_source(tmp_path / "root", result)
        assert counts.events + counts.rejects == rows
    tables = Tables(tmp_path / "root")
    assert tables.read("events").num_rows + tables.read("rejects").num_rows == 300 * len(KINDS)
    made = labels.write_labels(tmp_path / "root", segment_ms=60_000)
    assert made.segments == tables.read("segments").num_rows


def cells(rng: Random, rows: int) -> Iterator[pa.Array]:
    """Columns of every type that Parquet has, and some that nobody expects."""
    texts = [h.decode("utf-8", "ignore") for h in HOSTILE]
    yield pa.array([rng.choice([*texts, None, f"u{n}"]) for n in range(rows)], pa.string())
    yield pa.array([rng.choice(HOSTILE) for _ in range(rows)], pa.binary()).view(pa.string())
    yield pa.array([rng.choice([0.0, -1.0, 1e308, float("nan"), float("inf"), 5.5, None]) for _ in range(rows)])
    yield pa.array([rng.choice([0, -1, 7, 2**63 - 1, -(2**63), None]) for _ in range(rows)], pa.int64())
    yield pa.array([rng.choice([2**64 - 1, 3]) for _ in range(rows)], pa.uint64())
    yield pa.array([rng.choice([True, False, None]) for _ in range(rows)])
    yield pa.array([rng.choice([-(2**62), 0, 2**62]) for _ in range(rows)], pa.timestamp("us"))
    yield pa.array([rng.choice([0, 2**40]) for _ in range(rows)], pa.timestamp("s", tz="UTC"))
    yield pa.array([rng.choice([[1], [], None]) for _ in range(rows)], pa.list_(pa.int64()))
    yield pa.array([{"a": n} for n in range(rows)])
    yield pa.array([rng.choice([5, None]) for _ in range(rows)], pa.decimal128(38, 10))
    yield pa.array([rng.choice(["a", "b", None]) for _ in range(rows)]).dictionary_encode()
    yield pa.nulls(rows)


@pytest.mark.timeout(240)
def test_columns_of_any_type_are_read_or_refused(tmp_path: Path) -> None:
    rows, path, read, told = 100, tmp_path / "y.parquet", 0, []
    good = dict(zip("uvksedtw", map(list, zip(*map(_cells, range(rows)), strict=True)), strict=True))
    for seed in range(80):
        rng = Random(seed)
        columns = {name: pa.array(values) for name, values in good.items()}
        kinds = list(cells(rng, rows))
        for name in rng.sample("uvksedtw", rng.randint(1, 2)):
            columns[name] = rng.choice(kinds)
        try:
            pq.write_table(pa.table(columns), path)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        try:
            account(sources.read(path, "mapped", mapping=MAPPING), rows)
            read += 1
        except InputError as refused:
            told.append(str(refused))
    assert read > 20
    assert all("must hold" in message for message in told)


def heads(head: bytes, rng: Random) -> bytes:
    """The names of the columns, spoilt: doubled, missing, in another case, quoted, another separator."""
    if rng.random() < 0.3:
        head = b"\xef\xbb\xbf" + head
    return (
        rng.choice(
            (head.upper(), head.replace(b",", b";"), head[:-1], b"", *(spoil_line(head, b",", rng) for _ in range(6)))
        )
        + b"\n"
    )


def whole_files(rng: Random) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """(name, content, options): as they are read, or refused as a whole."""
    for kind in KINDS.values():
        data, _ = spoilt(kind, rng, 30)
        body = data.removeprefix(kind.head)
        yield kind.file, heads(kind.head, rng) + body if kind.head else spoil_file(data, rng), kind.options
        yield kind.file, spoil_file(data, rng), kind.options
        yield f"{kind.file}.gz", spoil_file(gzip.compress(data), rng), kind.options
    out = io.BytesIO()
    pq.write_table(
        pa.table({name: [str(n) for n in range(50)] for name in "uvksedtw"}),
        out,
        compression=rng.choice(("none", "zstd")),
    )
    for _ in range(6):
        yield "y.parquet", spoil_file(out.getvalue(), rng, (b"PAR1", b"schema", b"u")), KINDS["mapped"].options


def read_whole(folder: Path, seeds: range) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in seeds:
        for name, data, options in whole_files(Random(seed)):
            (folder / name).write_bytes(data)
            try:
                result = sources.read(folder / name, **options)
            except InputError:
                found["refused"] += 1
                continue
            account(result, result.rows)
            if not name.endswith((".gz", ".parquet")):
                lines = data.removeprefix(b"\xef\xbb\xbf").count(b"\n") + (not data.endswith(b"\n") and bool(data))
                header = name.endswith((".csv", ".inter"))
                assert result.rows == max(lines - header, 0)
            found["read"] += 1
    return found


@pytest.mark.timeout(240)
def test_spoilt_files_are_read_or_refused(tmp_path: Path) -> None:
    found = read_whole(tmp_path, range(15))
    assert found["refused"] > 50
    assert found["read"] > 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_spoilt_files_are_read_or_refused(tmp_path: Path) -> None:
    assert read_whole(tmp_path, range(15, 215)).total() == 200 * 24
