"""Splits delimited text into columns, with numpy over bytes: no loop over rows, and no row is lost.

A row is a line. In quoted text (RFC 4180) a field in quotes may hold separators and doubled quotes, and in columns of
free text line breaks. Lines are joined only if that gives a row with the right number of fields and the breaks in such
columns, so a stray quote damages only its own line.
Rows that cannot be read are named in `problem`: a wrong number of fields, broken quotes, bytes that are not UTF-8, NUL
bytes, empty lines. A byte order mark and `\\r\\n` are removed. Rows count from 1, without the header.
"""

import csv
import gzip
import itertools
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.bounds import unpacked
from reelmill.storage.errors import InputError

NEWLINE, RETURN, QUOTE = b"\n"[0], b"\r"[0], b'"'[0]
BLOCK_BYTES = 1 << 24
"""Text is processed in blocks of about this size: numpy needs eight bytes of index per byte."""


@dataclass(frozen=True)
class Columns:
    """Columns of a source file, each with `rows` values, which have no meaning in a row with a problem."""

    values: dict[str, pa.ChunkedArray]
    problem: pa.Array
    """(rows,) string: why the row cannot be read; null if it can."""
    rows: int


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in `.gz`. Raises InputError if it cannot be read, or unpacks to
    far more than its size."""
    try:
        packed = path.read_bytes()
        return unpacked(packed, path) if path.suffix == ".gz" else packed
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the path of a file") from error


def split_header(data: bytes, separator: str, path: Path) -> tuple[list[str], bytes]:
    """Column names from the first line, and the rest of the data."""
    head, _, body = data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    try:
        names = next(csv.reader([head.decode().rstrip("\r")], delimiter=separator, strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the first line holds no column names ({error}); is it a text file?") from error
    if not names:
        raise InputError(f"{path}: the first line is empty; it must hold the names of the columns")
    return [name.strip() for name in names], body


def split(
    data: bytes,
    separator: str,
    names: Sequence[str],
    wanted: Collection[str] | None = None,
    *,
    quoted: bool = False,
    broken_in: Collection[str] = (),
) -> Columns:
    """Split lines without a header into the `wanted` ones of the columns `names` (all if None), as text.

    `separator`: one character, or two in unquoted text. `broken_in`: columns in which a quoted field may hold line
    breaks. A missing field is an empty text.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    text = np.frombuffer(data, np.uint8)
    stop = np.flatnonzero(text == NEWLINE)
    if data and not data.endswith(b"\n"):
        stop = np.append(stop, len(text))
    start = np.concatenate(([0], stop[:-1] + 1))[: len(stop)]
    end = stop - ((stop > start) & (text[stop - 1] == RETURN))
    cut = _separators(text, separator)
    cut_line = np.searchsorted(stop, cut)
    inside, broken, counts = np.zeros(len(stop), bool), np.zeros(len(stop), bool), np.ones(len(cut), bool)
    if quoted:
        breakable = np.array([name in broken_in for name in names])
        inside, broken, counts = _quotes(text, (start, end, stop), (cut, cut_line, ord(separator)), breakable)
    first = np.flatnonzero(~inside)
    row_of_line = np.cumsum(~inside) - 1
    row_start, row_end = start[first], end[np.append(first[1:], len(stop)) - 1] if len(first) else end
    cut, cut_row = cut[counts], row_of_line[cut_line[counts]]
    fields = np.bincount(cut_row, minlength=len(first)) + 1
    flaws = {
        "not UTF-8": row_of_line[undecodable_lines(data)],
        "NUL byte": row_of_line[np.searchsorted(stop, np.flatnonzero(text == 0))],
        "broken quotes": row_of_line[broken],
        "empty line": np.flatnonzero(row_start == row_end),
    }
    problem = _problems(fields, len(names), flaws)
    good = np.asarray(problem.is_null())
    edges = cut[good[cut_row]].reshape(-1, len(names) - 1)
    begins = np.column_stack((row_start[good], edges + len(separator)))
    ends = np.column_stack((edges, row_end[good]))
    values = {}
    for number, name in enumerate(names):
        if wanted is None or name in wanted:
            place = np.zeros((2, len(first)), np.int64)  # rows with a problem: empty
            place[:, good] = begins[:, number], ends[:, number]
            values[name] = _gather(text, place[0], place[1], quoted)
    return Columns(values, problem, len(first))


def undecodable_lines(data: bytes) -> np.ndarray:
    """Numbers (from 0) of the lines that are not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        points = data.decode("utf-8", "surrogateescape").encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(points, np.uint32)
        bad = np.flatnonzero((codes >= 0xDC80) & (codes <= 0xDCFF))  # what surrogateescape makes of a bad byte
        return np.unique(np.searchsorted(np.flatnonzero(codes == NEWLINE), bad))
    return np.zeros(0, np.int64)


def _separators(text: np.ndarray, separator: str) -> np.ndarray:
    if len(separator) == 1:
        return np.flatnonzero(text == ord(separator))
    hits = np.flatnonzero((text[:-1] == ord(separator[0])) & (text[1:] == ord(separator[1])))
    # in ":::" two hits overlap: of a run of neighbouring hits each second one counts, as str.split has it
    head = np.append(True, np.diff(hits) != 1)[: len(hits)]
    return hits[(hits - hits[head][np.cumsum(head) - 1]) % 2 == 0]


def _quotes(
    text: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray, np.ndarray],
    cuts: tuple[np.ndarray, np.ndarray, int],
    breakable: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which lines begin inside a quoted field, which have broken quotes, which separators count.

    Each quote toggles inside and outside (a doubled one twice). An opening one must follow a line start, a separator or
    a quote, a closing one must precede a line end, a separator or a quote. This is checked for each line in both states
    in which it can begin. A line with an odd number of quotes opens a row that the next such line closes, if both and
    all between are sound, the row has as many fields as `breakable`, (fields,) bool, and first and last break are in
    fields where that is true; else the line is broken, and the next one may open.
    """
    (start, end, stop), (cut, cut_line, separator) = lines, cuts
    quote = np.flatnonzero(text == QUOTE)
    line = np.searchsorted(stop, quote)
    count = np.bincount(line, minlength=len(stop))
    before = np.cumsum(count) - count
    second = (np.arange(len(quote)) - before[line]) % 2 == 1
    left, right = text[np.maximum(quote - 1, 0)], text[np.minimum(quote + 1, len(text) - 1)]
    may_open = (quote == start[line]) | (left == separator) | (left == QUOTE)
    may_close = (quote + 1 == end[line]) | (right == separator) | (right == QUOTE)
    bad = [  # by the state in which the line begins: outside, inside
        np.bincount(line[~np.where(second ^ state, may_close, may_open)], minlength=len(stop)) > 0
        for state in (False, True)
    ]
    parity = (np.searchsorted(quote, cut) - before[cut_line]) % 2
    cuts_in = [np.bincount(cut_line[parity == state], minlength=len(stop)) for state in (0, 1)]

    odd = np.flatnonzero(count % 2)
    a, b = odd[:-1], odd[1:]
    bad_until = np.concatenate(([0], np.cumsum(bad[1])))
    cuts_until = np.concatenate(([0], np.cumsum(cuts_in[1])))
    sound = ~bad[0][a] & (bad_until[b + 1] == bad_until[a + 1])
    last = len(breakable) - 1
    sound &= cuts_in[0][a] + cuts_until[b + 1] - cuts_until[a + 1] == last
    sound &= breakable[np.minimum(cuts_in[0][a], last)] & breakable[np.maximum(last - cuts_in[1][b], 0)]
    order = np.arange(len(a))
    last_unsound = np.maximum.accumulate(np.where(sound, -1, order)) if len(a) else order
    opens = sound & ((order - last_unsound) % 2 == 1)  # after an unsound pair the next line is free to open
    step = np.zeros(len(stop) + 1, np.int64)
    step[a[opens] + 1] += 1
    step[b[opens] + 1] -= 1
    inside = np.cumsum(step)[:-1] > 0
    broken = np.where(inside, bad[1], bad[0])
    alone = np.ones(len(odd), bool)
    alone[:-1] &= ~opens
    alone[1:] &= ~opens
    broken[odd[alone]] = True
    return inside, broken, parity == inside[cut_line]


def _problems(fields: np.ndarray, expected: int, flaws: dict[str, np.ndarray]) -> pa.Array:
    """(rows,) string: the first flaw of each row, else a wrong number of fields, else null."""
    words = pc.binary_join_element_wise(pa.array(fields).cast(pa.string()), f"fields, expected {expected}", " ")
    problem = pc.if_else(pa.array(fields != expected), words, None)
    for flaw, rows in reversed(flaws.items()):
        hit = np.zeros(len(fields), bool)
        hit[rows] = True
        problem = pc.if_else(pa.array(hit), flaw, problem)
    return problem


def _gather(text: np.ndarray, start: np.ndarray, stop: np.ndarray, quoted: bool) -> pa.ChunkedArray:
    """The texts [start, stop) as one string column; quotes around a field are removed, doubled ones become one."""
    if quoted:
        bare = (stop > start) & (text[np.minimum(start, len(text) - 1)] == QUOTE) if len(text) else stop > start
        start, stop = start + bare, stop - bare
    length = stop - start
    block = np.cumsum(length) // BLOCK_BYTES
    edges = np.concatenate(([0], np.flatnonzero(np.diff(block)) + 1, [len(start)]))
    chunks = []
    for a, b in itertools.pairwise(edges):
        offset = np.concatenate(([0], np.cumsum(length[a:b])))
        index = np.repeat(start[a:b] - offset[:-1], length[a:b]) + np.arange(offset[-1])
        buffers = pa.py_buffer(offset.astype(np.int32)), pa.py_buffer(text[index])
        chunks.append(pa.StringArray.from_buffers(b - a, *buffers))
    column = pa.chunked_array(chunks, pa.string())
    return pc.replace_substring(column, '""', '"') if quoted else column
