"""Bytes into columns: any bytes at all, quoted text, numbers and times."""

import csv
import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelmill.pipeline import sources
from reelmill.pipeline.sources import moments, text, values
from reelmill.storage.errors import InputError
from tests.pipeline.test_sources import HEAD, account, phd2


def test_bom_crlf_bad_bytes_and_gzip(tmp_path: Path) -> None:
    lines = ["\ufeff" + HEAD, "v,1,2,u,60,True", "w,1,2,\xfcu,60,True", "x,1,2,u,60,True"]
    data = "\r\n".join(lines).encode().replace("\xfc".encode(), b"\xfc")  # no line end after the last row
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(data))
    result = sources.read(path, "phd2", name="mine")
    account(result)
    assert result.events["video_id"].to_pylist() == ["v", "x"]
    assert result.rejects["detail"].to_pylist() == ["not UTF-8"]
    assert set(result.events["source"].to_pylist()) == {"mine"}


def test_a_stray_quote_spoils_only_its_line(tmp_path: Path) -> None:
    good = [f"v{i},1,2,u,60,True" for i in range(100)]
    lines = list(good)
    lines[10], lines[40], lines[41], lines[90] = 'v,1,2,"u,60,True', 'v,1,2,u",60,True', '"v,1,2,u,60,True', '"'
    result = phd2(tmp_path, *lines)
    account(result)
    assert result.rejects["source_row"].to_pylist() == [11, 41, 42, 91]


def test_rows_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    rows = ['1,a,"two\r\nlines, ""quoted"""', '"2","b","x\n\n"', "3,c,plain", '4,"d\ne",no', '5,f,"open\n6,g,"']
    path.write_bytes("\n".join(["u,v,say", *rows, ""]).encode())
    result = sources.read(path, "mapped", mapping={"user_id": "u", "video_id": "v", "kind": "post", "text": "say"})
    account(result)
    found = [(e["source_row"], e["video_id"], e["text"]) for e in result.events.to_pylist()]
    # the last two lines could be two broken rows as well; read as one they have the right number of fields
    assert found == [(1, "a", 'two\r\nlines, "quoted"'), (2, "b", "x\n\n"), (3, "c", "plain"), (6, "f", "open\n6,g,")]
    assert result.rejects["source_row"].to_pylist() == [4, 5]  # an identity holds no line end


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6) | st.sampled_from(
    ['"', '""', ",", "\n", '",', '\n"', '"\n', "\r\n", "a\r"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_comes_back(rows: list[list[str]], end: str) -> None:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if any("\r" in cell for row in rows for cell in row) else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator=end, quoting=quoting).writerows(rows)
    columns = text.split(out.getvalue().encode(), ",", ["a", "b", "c"], quoted=True, broken_in="abc")
    assert columns.problem.null_count == columns.rows == len(rows)
    assert [list(row) for row in zip(*(columns.values[n].to_pylist() for n in "abc"), strict=True)] == rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(":\n\rab", max_size=9), max_size=6))
def test_double_colons_are_split_as_python_does(lines: list[str]) -> None:
    lines = [line.replace("\n", "").replace("\r", "") for line in lines]
    columns = text.split("\n".join([*lines, ""]).encode(), "::", ["a", "b", "c"])
    assert columns.rows == len(lines)
    for row, line in enumerate(lines):
        fields = line.split("::")
        assert columns.problem[row].is_valid == (len(fields) != 3)
        if len(fields) == 3:
            assert [columns.values[n][row].as_py() for n in "abc"] == fields


def test_large_columns_are_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 10)
    columns = text.split(b"".join(b"%d,%s\n" % (i, b"x" * (i % 7)) for i in range(50)), ",", ["a", "b"], quoted=True)
    assert columns.values["b"].num_chunks > 3
    assert columns.values["b"].to_pylist() == ["x" * (i % 7) for i in range(50)]


pieces = st.sampled_from(
    [b"v", b"w", b"u", b"1", b"2.5", b"-1", b"60", b"nan", b"1e9", b"1e400", b"", b'"', b"'", b",", b"::", b"\t", b" ",
     b"\r", b"\0", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"2020-02-30", b"{", b"}", b'"u":']
) | st.binary(max_size=3)  # fmt: skip
rows_of = {
    ",": [b"v,1,2,u,60,True", b"w,3,4,u,60,False"],
    "::": [b"1::2::3::978300760"],
    "json": [b'{"u": 1, "v": "x", "s": 1, "e": 2.5, "d": 60}', b'{"u": null, "v": [1]}', b'{"u": "\\ud800", "v": 1}'],
}


def lines_of(kind: str) -> st.SearchStrategy[list[bytes]]:
    broken = st.lists(pieces, max_size=12).map(b"".join)
    joined = st.lists(pieces, min_size=6, max_size=6).map(b",".join)
    spoilt = st.tuples(st.sampled_from(rows_of[kind]), st.integers(0, 20), pieces).map(
        lambda r: r[0][: r[1]] + r[2] + r[0][r[1] :]
    )
    lines = st.sampled_from(rows_of[kind]) | broken | joined | spoilt
    return st.lists(lines.map(lambda line: line.replace(b"\n", b"")), max_size=8)


def fuzz(path: Path, head: bytes, lines: list[bytes], ended: bool, **options: object) -> None:
    """Events and rejects add up for any bytes, and without quotes a row is a line."""
    body = b"\n".join([head, *lines]) if head else b"\n".join(lines)
    body += b"\n" if lines and ended else b""
    path.write_bytes(body)
    result = sources.read(path, **options)  # type: ignore[arg-type]
    account(result)
    expected = len(lines) - (bool(lines) and not ended and not lines[-1])  # a last line without end and content is none
    assert result.rows == expected or (b'"' in body and path.suffix == ".csv" and result.rows < expected)


@settings(max_examples=70, deadline=None)
@given(lines=lines_of(","), ended=st.booleans())
@example(lines=[b'"', b'"'], ended=False)
@example(lines=[b'v,1,2,"u', b'u",60,True', b'"'], ended=True)
def test_any_bytes_as_phd2(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool) -> None:
    fuzz(tmp_path_factory.getbasetemp() / "fuzz.csv", HEAD.encode(), lines, ended, format="phd2")


@settings(max_examples=70, deadline=None)
@given(lines=lines_of("::"), ended=st.booleans())
def test_any_bytes_as_movielens(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool) -> None:
    if lines:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf") or b"x"
    fuzz(tmp_path_factory.getbasetemp() / "fuzz.dat", b"", lines, ended, format="movielens")


@settings(max_examples=70, deadline=None)
@given(lines=lines_of(","), ended=st.booleans())
@example(lines=[b'v,1,2,u,60,"T', b'"'], ended=True)
def test_any_bytes_as_a_mapped_table(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool) -> None:
    mapping = {"user_id": "user_id", "video_id": "youtubeId", "kind": "watch", "start_ms": "start", "time": "duration",
               "text": "is_last"}  # fmt: skip
    fuzz(tmp_path_factory.getbasetemp() / "any.csv", HEAD.encode(), lines, ended, format="mapped", mapping=mapping)


MAPPING = {"user_id": "u", "video_id": "v", "kind": "highlight", "start_s": "s", "stop_s": "e", "video_duration_s": "d"}


@settings(max_examples=70, deadline=None)
@given(lines=lines_of("json"), ended=st.booleans())
def test_any_bytes_as_json_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool) -> None:
    head = b'{"u": 1, "v": "x", "s": 0, "e": 5, "d": 60}'
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(b"\n".join([head, *lines]) + (b"\n" if ended or not lines or not lines[-1] else b""))
    account(result := sources.read(path, "mapped", mapping=MAPPING))
    assert result.rows == len(lines) + 1


def test_json_lines_say_what_is_wrong(tmp_path: Path) -> None:
    lines = ['{"u": 1, "v": 2, "s": 0, "e": 5, "d": 60}', "", "{", "[1]", '{"u": [1]}', '{"u": "\\u0000"}', "[" * 9999,
             '{"u": 1}', '{"u": 1, "v": true, "s": NaN, "e": 1, "d": 1}', "1" * 5000]  # fmt: skip
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines))
    result = sources.read(path, "mapped", mapping=MAPPING)
    account(result)
    assert result.events["video_id"].to_pylist() == ["2"]
    found = [(r["reason"], r["detail"].split(":")[0]) for r in result.rejects.to_pylist()]
    assert found[6:8] == [("missing_id", "video_id"), ("not_finite", "s=NaN")]
    assert {reason for reason, _ in found[:6] + found[8:]} == {"malformed_row"}
    details = [detail for _, detail in found[:6] + found[8:]]
    assert details == ["empty line", "not JSON", "not a JSON object", "u", "u", "not JSON", "not JSON"]


# ---- numbers and times -----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats() | st.text("0123456789.+-eEnaif ", max_size=7))
@example("1_0")
@example("٣")
def test_numbers_are_read_as_python_reads_them(said: float | str) -> None:
    word = said if isinstance(said, str) else repr(said)
    read = values.numbers("x", pa.chunked_array([[word]]))
    try:
        expected = float(word)
    except ValueError:
        expected = None
    if word.strip() == "":
        assert read.missing[0]
    elif expected is None or not word.isascii() or "_" in word:
        assert read.unreadable[0]
    else:
        assert not read.unreadable[0]
        assert read.values[0] == expected or expected != expected


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-23 * 60, 23 * 60), st.sampled_from("T "))
def test_iso_times(moment: datetime, offset: int, between: str) -> None:
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    word = moment.isoformat(between, "milliseconds") + zone
    milliseconds = moments.read("t", pa.chunked_array([[word, moment.isoformat(between, "seconds") + "Z"]])).values
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution * 1000)
    assert milliseconds[0] == exact - offset * 60_000
    assert milliseconds[1] == exact // 1000 * 1000


def test_times_of_other_kinds() -> None:
    said = ["978300760", "978300760.5", "2000-12-31T22:12:40Z", "2000-12-31 22:12", "2000-12-31", "2001-02-29",
            "2000-13-01", "2000-12-31T24:00", "31.12.2000", "", None]  # fmt: skip
    read = moments.read("t", pa.chunked_array([said]))
    day = 978_220_800_000
    assert read.values[:5].tolist() == [978300760e3, 978300760.5e3, day + 79_960e3, day + 79_920e3, day]
    assert read.unreadable.tolist() == [False] * 5 + [True] * 4 + [False] * 2
    assert read.missing.tolist() == [False] * 9 + [True] * 2
    stamps = pa.chunked_array([pa.array([datetime(2000, 12, 31, tzinfo=UTC), None], pa.timestamp("us", tz="UTC"))])
    assert moments.read("t", stamps).values[0] == day
    assert moments.read("t", pa.chunked_array([pa.array([978_300_760])])).values[0] == 978300760e3
    assert moments.read("t", pa.chunked_array([pa.array([11_322], pa.date32())])).values[0] == day
    with pytest.raises(InputError, match="'t' has type bool"):
        moments.read("t", pa.chunked_array([[True]]))
