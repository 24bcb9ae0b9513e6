"""The form of a text table is found or told, and shown: separator, header, encoding, quotes, packing."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reelmill.flows.settings.load import load
from reelmill.pipeline import sources
from reelmill.pipeline.sources import Dialect, SourceResult, tables, text
from reelmill.pipeline.sources.tables import Wanted
from reelmill.storage.errors import InputError

MAPPING = {"user_id": "user", "video_id": "clip", "value": "stars"}
ROWS = [("ann", "a", "4.5"), ("bob", "Amélie", "3"), ("ann", "b", "1")]
EVENTS = [("ann", "a", 4.5), ("bob", "Amélie", 3.0), ("ann", "b", 1.0)]


def written(separator: str, header: bool = True, rows: list[tuple[str, ...]] = ROWS) -> str:
    return "".join(separator.join(row) + "\n" for row in ([("user", "clip", "stars")] if header else []) + rows)


def read(path: Path, content: str | bytes, mapping: dict[str, str] | None = None, **told: Any) -> SourceResult:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return sources.read(path, "mapped", mapping=mapping or MAPPING, dialect=Dialect(**told))


def events(result: SourceResult) -> list[tuple[str, str, float]]:
    assert result.rejects.num_rows == 0
    return [(row["user_id"], row["video_id"], row["value"]) for row in result.events.to_pylist()]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.txt", "t.tsv", "T.TSV.GZ", "t.tab", "t.dat"])
@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_a_separator_is_found_whatever_the_suffix(tmp_path: Path, name: str, separator: str) -> None:
    result = read(tmp_path / name.replace(".GZ", ".gz"), written(separator))
    assert events(result) == EVENTS
    usual = {".csv": ",", ".dat": "::"}.get(name.lower().removeprefix("t").removesuffix(".gz"), "\t")
    assert ("(found)" in result.understood["file"]) == (separator != usual)


def test_a_decimal_comma_does_not_make_a_comma_the_separator(tmp_path: Path) -> None:
    result = read(tmp_path / "t.csv", written(";", rows=[("ann", "a", "4,5"), ("bob", "b", "3"), ("cid", "c", "1,0")]))
    assert [row["detail"] for row in result.rejects.to_pylist()] == ["stars=4,5", "stars=1,0"]
    assert result.events["user_id"].to_pylist() == ["bob"]


def test_columns_without_a_header_are_numbered(tmp_path: Path) -> None:
    by_number = {"user_id": "1", "video_id": "2", "value": "3"}
    result = read(tmp_path / "t.csv", written(",", header=False), by_number)
    assert events(result) == EVENTS
    assert result.understood["file"] == "separator comma, UTF-8, no header, columns 1, 2, 3 (found)"
    assert events(read(tmp_path / "t.csv", written(",", header=False), header=("user", "clip", "stars"))) == EVENTS
    words = written(",", header=False, rows=[("ann", "a", ""), ("bob", "b", "")])
    assert len(read(tmp_path / "t.csv", words, by_number, header=False).events) == 2
    assert len(read(tmp_path / "t.csv", words, by_number).events) == 2  # the mapping says that there are no names
    with pytest.raises(InputError, match="no column 'user'"):
        read(tmp_path / "t.csv", words)


def test_a_name_that_is_a_number_is_a_name_if_the_mapping_says_so(tmp_path: Path) -> None:
    content = "user,clip,2020\nann,a,4.5\nbob,b,3\n"
    result = read(tmp_path / "t.csv", content, {"user_id": "user", "video_id": "clip", "value": "2020"})
    assert events(result) == [("ann", "a", 4.5), ("bob", "b", 3.0)]
    assert "names in the first line" in result.understood["file"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "utf-8"])
def test_an_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    assert events(read(tmp_path / "t.csv", written(",").encode(encoding))) == EVENTS


def test_an_encoding_is_told(tmp_path: Path) -> None:
    rows = [("王", "视频", "5"), ("李", "视频", "4")]
    data = written(",", rows=rows).encode("gb18030")
    result = read(tmp_path / "t.csv", data, encoding="gb18030")
    assert events(result) == [("王", "视频", 5.0), ("李", "视频", 4.0)]
    with pytest.raises(InputError, match=r"is not ascii .*give another source\.encoding"):
        read(tmp_path / "t.csv", data, encoding="ascii")


def test_a_few_bad_bytes_in_utf_8_are_rejects(tmp_path: Path) -> None:
    data = written(",", rows=[*ROWS, *ROWS]).encode() + b"\xff,x,1\n"
    result = read(tmp_path / "t.csv", data)
    assert result.reasons() == {"duplicate": 3, "malformed_row": 1}
    assert "UTF-8" in result.understood["file"]


def test_quotes_are_told(tmp_path: Path) -> None:
    rows = [("'ann, b.'", "a", "1"), ('"bob', "b", "2")]
    result = read(tmp_path / "t.csv", written(",", rows=rows), quote="'")
    assert events(result) == [("ann, b.", "a", 1.0), ('"bob', "b", 2.0)]
    result = read(tmp_path / "t.tsv", written("\t", rows=[('"bob', "b", "2"), ('5"', "c", "2")]), quote="none")
    assert events(result) == [('"bob', "b", 2.0), ('5"', "c", 2.0)]
    assert result.understood["file"].endswith("no quotes")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.json.gz", "t.ndjson.gz"])
@pytest.mark.parametrize("array", [False, True])
def test_json_lines_and_arrays(tmp_path: Path, name: str, array: bool) -> None:
    if array and ".json" not in Path(name).suffixes:
        return
    rows = [dict(zip(("user", "clip", "stars"), row, strict=True)) for row in ROWS]
    whole = json.dumps(rows, indent=1) if array else "".join(json.dumps(row) + "\n" for row in rows)
    assert events(read(tmp_path / name, whole)) == EVENTS
    with pytest.raises(InputError, match="are of text tables"):
        read(tmp_path / name, whole, separator=";")


def test_a_column_that_only_later_json_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelmill.pipeline.sources.dialect.PIECE_BYTES", 40)
    rows = [{"user": f"u{n}", "clip": "a"} | ({"stars": 2} if n == 9 else {}) for n in range(10)]
    result = read(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert result.events["value"].to_pylist() == [None] * 9 + [2.0]
    with pytest.raises(InputError, match=r"no column 'starz'.*did you mean 'stars'"):
        read(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows[::-1]), {**MAPPING, "value": "starz"})


def test_settings_say_the_dialect(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"

    def said(line: str) -> Dialect:
        file.write_text(f"root: data\nsource: {{path: t.csv, {line}}}\n")
        source = load(file).source
        assert source is not None
        return source.dialect()

    told = said("separator: tab, encoding: ISO-8859-1, quote: none, header: [user, clip]")
    assert told == Dialect(("user", "clip"), "\t", "latin-1", "none")
    assert said("header: false, mapping: {user_id: 1, video_id: 2}") == Dialect(False)
    for wrong, message in (
        ("encoding: utf-9", "no encoding"), ("separator: ab", "one character"), ("quote: é", "one character"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            said(wrong)


def test_pieces_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a quoted field is cut, and after a quote that never closes."""
    lines = [f'u{n},"a\nb, {n}",{n}' if n % 3 else f"u{n},plain,{n}" for n in range(40)]
    lines[20] = 'u20,"never closed,1'
    path = tmp_path / "t.csv"
    path.write_text("user,say,n\n" + "\n".join(lines) + "\n")
    wanted = Wanted(("user", "say", "n"), breakable=frozenset({"say"}))

    def rows() -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for batch in tables.open_table(path).batches(wanted):
            columns = (batch.values["user"], batch.values["say"], batch.values["n"], batch.problem)
            found += zip(*(column.to_pylist() for column in columns), strict=True)
        return found

    whole = rows()
    assert [row[3] for row in whole if row[3]] == ["broken quotes"]
    for size in (1, 7, 64, 333):
        monkeypatch.setattr("reelmill.pipeline.sources.dialect.PIECE_BYTES", size)
        assert rows() == whole
    monkeypatch.setattr(text, "MOST_FIELD", 4)  # no row goes over so many bytes
    assert sum(row[3] is not None for row in rows()) > 40
