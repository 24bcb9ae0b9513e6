"""Splits delimited text into columns, with numpy over bytes: no loop over rows, and no row is lost.

A row is a line. In quoted text (RFC 4180) a field in quotes may hold separators and doubled quotes, and in columns of
free text line breaks. Lines are joined only if that gives a row with the right number of fields, the breaks in such
columns, and at most `MOST_FIELD` bytes, so a stray quote damages only its own line. A file can be split piece by piece,
with the same result as at once.
Rows that cannot be read are named in `problem`: a wrong number of fields, broken quotes, bytes that are not UTF-8, NUL
bytes, empty lines. A byte order mark and `\\r\\n` are removed. Rows count from 1, without the header.
"""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NEWLINE, RETURN = b"\n"[0], b"\r"[0]
MOST_FIELD = 1 << 20
"""Bytes between the first and the last line of one row."""
BLOCK_BYTES = 1 << 24
"""Text is processed in blocks of about this size: numpy needs eight bytes of index per byte."""


@dataclass(frozen=True)
class Columns:
    """Columns of a source file, each with `rows` values, which have no meaning in a row with a problem."""

    values: dict[str, pa.ChunkedArray]
    problem: pa.Array
    """(rows,) string: why the row cannot be read; null if it can."""
    rows: int


def split(
    data: bytes,
    separator: str,
    names: Sequence[str],
    wanted: Collection[str] | None = None,
    *,
    quoted: bool = False,
    broken_in: Collection[str] = (),
    quote: str = '"',
) -> Columns:
    """Split lines without a header into the `wanted` ones of the columns `names` (all if None), as text.

    `separator`: one character, or two in unquoted text. `broken_in`: columns in which a quoted field may hold line
    breaks. `quote`: one ASCII character. A missing field is an empty text.
    """
    return split_some(data, separator, names, wanted, quote=quote if quoted else "", broken_in=broken_in, more=False)[0]


def split_some(
    data: bytes,
    separator: str,
    names: Sequence[str],
    wanted: Collection[str] | None = None,
    *,
    quote: str = "",
    broken_in: Collection[str] = (),
    more: bool,
) -> tuple[Columns, int]:
    """The same for the next piece of a text, and how many bytes of it were split. With `more` to come, a last row that
    may go on is left to the next piece. `quote`: none if it is empty."""
    if more:
        data = data[: data.rfind(b"\n") + 1]
    size = len(data)
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
    quoted = bool(quote) and quote.encode() in data
    if quoted:
        breakable = np.array([name in broken_in for name in names])
        found = _quotes(text, ord(quote), (start, end, stop), (cut, cut_line, ord(separator)), breakable)
        inside, broken, counts, open_line = found
        if more and open_line >= 0 and len(text) - start[open_line] <= MOST_FIELD:
            before = data[: start[open_line]]
            options = {"quote": quote, "broken_in": broken_in}
            columns, _ = split_some(before, separator, names, wanted, **options, more=False)  # type: ignore[arg-type]
            return columns, size - len(data) + len(before)
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
            values[name] = _gather(text, place[0], place[1], quote if quoted else "")
    return Columns(values, problem, len(first)), size


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
    mark: int,
    lines: tuple[np.ndarray, np.ndarray, np.ndarray],
    cuts: tuple[np.ndarray, np.ndarray, int],
    breakable: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Which lines begin inside a quoted field, which have broken quotes, which separators count; and the last line that
    may open a row which the next piece of the text closes, −1 if there is none. `mark`: the byte of a quote.

    Each quote toggles inside and outside (a doubled one twice). An opening one must follow a line start, a separator or
    a quote, a closing one must precede a line end, a separator or a quote. This is checked for each line in both states
    in which it can begin. A line with an odd number of quotes opens a row that the next such line closes, if both and
    all between are sound, the row has as many fields as `breakable`, (fields,) bool, and first and last break are in
    fields where that is true; else the line is broken, and the next one may open.
    """
    (start, end, stop), (cut, cut_line, separator) = lines, cuts
    quote = np.flatnonzero(text == mark)
    line = np.searchsorted(stop, quote)
    count = np.bincount(line, minlength=len(stop))
    before = np.cumsum(count) - count
    second = (np.arange(len(quote)) - before[line]) % 2 == 1
    left, right = text[np.maximum(quote - 1, 0)], text[np.minimum(quote + 1, len(text) - 1)]
    may_open = (quote == start[line]) | (left == separator) | (left == mark)
    may_close = (quote + 1 == end[line]) | (right == separator) | (right == mark)
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
    sound = ~bad[0][a] & (bad_until[b + 1] == bad_until[a + 1]) & (end[b] - start[a] <= MOST_FIELD)
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
    open_line = int(odd[-1]) if len(odd) and alone[-1] else -1
    return inside, broken, parity == inside[cut_line], open_line


def _problems(fields: np.ndarray, expected: int, flaws: dict[str, np.ndarray]) -> pa.Array:
    """(rows,) string: the first flaw of each row, else a wrong number of fields, else null."""
    words = pc.binary_join_element_wise(pa.array(fields).cast(pa.string()), f"fields, expected {expected}", " ")
    problem = pc.if_else(pa.array(fields != expected), words, None)
    for flaw, rows in reversed(flaws.items()):
        hit = np.zeros(len(fields), bool)
        hit[rows] = True
        problem = pc.if_else(pa.array(hit), flaw, problem)
    return problem


def _gather(text: np.ndarray, start: np.ndarray, stop: np.ndarray, quote: str) -> pa.ChunkedArray:
    """The texts [start, stop) as one string column; quotes around a field are removed, doubled ones become one."""
    if quote:
        bare = (stop > start) & (text[np.minimum(start, len(text) - 1)] == ord(quote)) if len(text) else stop > start
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
    return pc.replace_substring(column, quote * 2, quote) if quote else column
