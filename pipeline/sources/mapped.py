"""Any table of events, by a mapping from our names to its columns: CSV, TSV, JSON lines or Parquet.

    mapping:
      user_id: viewer                  needed
      video_id: clip                   needed
      kind: highlight                  a column, or one of `schema.EVENT_KINDS`; if it is not mapped:
                                       highlight if a start is mapped, else rating if a value is, else watch
      start_s: from                    or start_ms; numbers, or times such as 0:02 and 1:02:03.5
      stop_s: to                       or stop_ms, duration_s, duration_ms (length of the range)
      video_duration_s: length         or video_duration_ms; −1, 0 or empty: unknown
      time: when                       Unix time in any unit, YYYYMMDD, ISO 8601 (UTC without a zone), Arrow timestamps
      value: stars                     and text; of the video: url, title, description, tags, categories, uploader,
      text: =bought                    upload_date; tags and categories are lists, or texts split at `|`

A value that begins with `=` is a constant for all rows, unless a column has exactly this name. `.gz` is unpacked. In
CSV and TSV a quoted field may hold line ends, but no identity, kind, number or time. Identities are read by one rule in
every format (`values.identities`): a text as it is, an integer as its digits, a float only if it is whole and exact.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.pipeline.sources import moments, text, values
from reelmill.pipeline.sources.bounds import check_rows
from reelmill.pipeline.sources.checks import check
from reelmill.pipeline.sources.moments import Unit
from reelmill.pipeline.sources.rows import Rows, SourceResult, is_true
from reelmill.pipeline.sources.values import Numbers
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.schema import EVENT_KINDS

NEEDED = ("user_id", "video_id")
LISTS = ("tags", "categories")
FACTS = ("url", "title", "description", "uploader", "upload_date", *LISTS)
STARTS = ("start_s", "start_ms")
STOPS = ("stop_s", "stop_ms", "duration_s", "duration_ms")
ENDS = ("video_duration_s", "video_duration_ms")
TARGETS = (*NEEDED, "kind", *STARTS, *STOPS, *ENDS, "time", "value", "text", *FACTS)
SEPARATOR = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATOR, ".jsonl", ".ndjson", ".parquet")


def read(
    path: Path,
    source: str,
    mapping: Mapping[str, str],
    *,
    url_template: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
) -> SourceResult:
    """Read a table by a mapping."""
    _check_targets(mapping)
    mapping = {"kind": f"={_kind(mapping)}", **mapping}
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in SEPARATOR:
        table = _read_text(path, SEPARATOR[suffix], mapping)
    elif suffix in (".jsonl", ".ndjson"):
        table = _read_json(path, mapping)
    elif suffix == ".parquet":
        table = _read_parquet(path, mapping)
    else:
        raise InputError(f"{path}: a mapped source ends in one of {', '.join(SUFFIXES)}, this one in {suffix!r}")
    said = {target: _column(table, target, name) for target, name in mapping.items()}

    def read_as(reader: Callable[..., Any], target: str, **options: Any) -> Any:
        """The column of a target, read by a function of `values`; None if it is not mapped."""
        return reader(mapping[target], said[target], **options) if target in said else None

    def timed(name: str) -> Numbers | None:
        return read_as(values.clock_times, f"{name}_s", scale=1000) or read_as(
            values.clock_times, f"{name}_ms", scale=1
        )

    how, understood = moments.how(mapping.get("time"), said.get("time"), table.problem, time_unit)
    rows = Rows(
        source,
        table.problem,
        **{name: read_as(values.identities, name) for name in NEEDED},
        kind=read_as(values.texts, "kind", trim=True),
        start=timed("start"),
        stop=timed("stop"),
        length=timed("duration"),
        video_duration=timed("video_duration"),
        time=read_as(moments.read, "time", how=how),
        value=read_as(values.numbers, "value"),
        text=read_as(values.texts, "text"),
        facts={
            name: read_as(values.text_lists if name in LISTS else values.texts, name) for name in FACTS if name in said
        },
    )
    return replace(check(rows, durations, url_template), understood=understood)


def _check_targets(mapping: Mapping[str, str]) -> None:
    for target in mapping:
        if target not in TARGETS:
            raise InputError(f"mapping: there is no {target!r} to map a column to; {nearest(target, TARGETS)}")
    for target in NEEDED:
        if target not in mapping:
            raise InputError(f"mapping: {target!r} is missing; map a column to it, or write '=…' for a constant")
    for rivals in (STARTS, STOPS, ENDS):
        if len(both := [target for target in rivals if target in mapping]) > 1:
            raise InputError(f"mapping: {' and '.join(both)} mean the same; keep one")
    if any(target in mapping for target in STOPS) and not any(target in mapping for target in STARTS):
        raise InputError("mapping: a stop or duration needs a start; map start_s or start_ms")


def _kind(mapping: Mapping[str, str]) -> str:
    """The kind of events, for a mapping without one."""
    if any(target in mapping for target in STARTS):
        return "highlight"
    return "rating" if "value" in mapping else "watch"


def _constant(target: str, said: str) -> str | None:
    """The constant that a mapping gives, None if it names a column."""
    if said.startswith("="):
        return said[1:]
    return said if target == "kind" and said in EVENT_KINDS else None


def _wanted(mapping: Mapping[str, str], names: list[str], path: Path) -> list[str]:
    """The columns of a file that the mapping names. The name of a column takes precedence over a constant."""
    wanted = []
    for target, said in mapping.items():
        if names.count(said) > 1:
            raise InputError(f"{path}: {names.count(said)} columns are called {said!r}; give them names of their own")
        if said in names:
            wanted.append(said)
        elif _constant(target, said) is None:
            raise InputError(
                f"{path} has no column {said!r}, which the mapping names for {target!r}; {nearest(said, names)}"
            )
    return list(dict.fromkeys(wanted))


def _column(table: text.Columns, target: str, said: str) -> pa.ChunkedArray:
    if said in table.values:
        return table.values[said]
    return pa.chunked_array([pa.repeat(_constant(target, said), table.rows)])


def _read_text(path: Path, separator: str, mapping: Mapping[str, str]) -> text.Columns:
    names, body = text.split_header(text.read_bytes(path), separator, path)
    wanted = _wanted(mapping, names, path)
    free = {*names} - {name for target, name in mapping.items() if target not in ("text", *FACTS)}
    return text.split(body, separator, names, wanted, quoted=True, broken_in=free)


def _read_parquet(path: Path, mapping: Mapping[str, str]) -> text.Columns:
    try:
        with pq.ParquetFile(path) as file:
            wanted, rows = _wanted(mapping, file.schema_arrow.names, path), file.metadata.num_rows
            check_rows(rows, path)
            table = file.read(columns=wanted)
            if table.num_rows != rows and wanted:
                raise pa.ArrowInvalid(f"it claims {rows} rows and has {table.num_rows}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error})") from error
    problem = pa.nulls(rows, pa.string())
    columns = {}
    for name in wanted:
        column = table[name]
        if values.is_text(column.type):
            column, bad = _sound_texts(column.cast(pa.string()))
            problem = pc.if_else(bad, f"{name}: not UTF-8, or a NUL byte", problem)
        columns[name] = column
    return text.Columns(columns, problem, rows)


def _sound_texts(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    """The texts, with those removed that are not UTF-8 or hold a NUL byte; and which those were, (rows,) bool."""
    binary = column.cast(pa.binary())
    bad = is_true(pc.greater_equal(pc.find_substring(binary, b"\0"), 0))
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        lines = pc.replace_substring(pc.fill_null(binary, b""), b"\n", b" ").to_pylist()
        bad[text.undecodable_lines(b"\n".join(lines))] = True
    return pc.if_else(pa.array(bad), None, binary).cast(pa.string()), pa.array(bad)


def _read_json(path: Path, mapping: Mapping[str, str]) -> text.Columns:
    """JSON lines, each parsed alone, since a reader of whole files fails at the first bad line."""
    lines = text.read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    parsed = [_parse(line) for line in lines]
    objects = [row if isinstance(row, dict) else {} for row in parsed]
    names = sorted(set().union(*objects))
    wanted = _wanted(mapping, names, path) if any(objects) else []
    problem: list[str | None] = [row if isinstance(row, str) else None for row in parsed]
    lists = {said for target, said in mapping.items() if target in LISTS}
    ids = {mapping[target] for target in NEEDED}
    columns = {}
    for name in wanted:
        cells = [_identity(row.get(name)) if name in ids else _cell(row.get(name), name in lists) for row in objects]
        for number, cell in enumerate(cells):
            if cell is UNUSABLE and problem[number] is None:
                problem[number] = f"{name}: {_flaw(objects[number][name])}"
        kind = pa.list_(pa.string()) if name in lists else pa.string()
        columns[name] = pa.chunked_array([pa.array([None if c is UNUSABLE else c for c in cells], kind)])
    return text.Columns(columns, pa.array(problem, pa.string()), len(lines))


UNUSABLE = object()


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object in a line, or what is wrong with it."""
    if not line.strip():
        return "empty line"
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else "not a JSON object"


def _identity(value: Any) -> Any:
    """A JSON value as identity, by the rule of `values.identities`; UNUSABLE if it may be that of another."""
    if isinstance(value, float):
        if isnan(value):
            return None
        return str(int(value)) if abs(value) < values.EXACT[pa.float64()] and value.is_integer() else UNUSABLE
    return _cell(value, False)


def _flaw(value: Any) -> str:
    """Why a JSON value is UNUSABLE."""
    if isinstance(value, float):
        above = values.EXACT[pa.float64()]
        return f"{value!r} is no identity; {values.WHOLE} below {above:,}; write an integer or a text"
    return "a list, an object, or a NUL or half a character in a text"


def _cell(value: Any, many: bool) -> Any:
    """A JSON value as text (or list of texts), null as None, UNUSABLE if it has no such form."""
    if value is None:
        return None
    if many:
        items = value if isinstance(value, list) else str(value).split("|")
        cells = [_cell(item, False) for item in items]
        return UNUSABLE if UNUSABLE in cells else cells
    if isinstance(value, list | dict):
        return UNUSABLE
    said = value if isinstance(value, str) else json.dumps(value)
    return UNUSABLE if "\0" in said or any("\ud800" <= c <= "\udfff" for c in said) else said
