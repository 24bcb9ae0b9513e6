"""Converts columns of a source, of any type, to numbers, times in a video and texts; each value is read, missing or
unreadable. Points in time: `moments`."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.errors import InputError

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))$"
CLOCK = r"^(?P<sign>[+-]?)(?:(?P<h>\d+):(?P<m>[0-5]?\d)|(?P<mm>\d+)):(?P<s>[0-5]\d(?:[.,]\d+)?)$"
"""0:02, 75:30 or 1:02:03.5, as players write a time in a video."""
PERIOD = r"^(?P<sign>[+-]?)PT(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:[.,]\d+)?)S)?$"
"""PT1H2M3.5S, as ISO 8601 and the interface of YouTube write a length."""

WRITTEN_FLOAT = r"^-?(0|[1-9]\d*)(\.0|(\.\d+)?[eE][+-]\d+)$"
"""A whole or large number as programs write floats, such as 12.0 and 1.5e+18."""
WHOLE = "an identity that is stored as a number must hold a whole number"
EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}
"""{type: the first whole number that another one is rounded to}"""


@dataclass(frozen=True)
class Numbers:
    """One column of n numbers, with the text that they were read from."""

    name: str
    """The column's name in the source."""
    raw: pa.ChunkedArray
    values: np.ndarray
    """(n,) float64; NaN where missing or unreadable."""
    missing: np.ndarray
    """(n,) bool: null or an empty text."""
    unreadable: np.ndarray
    """(n,) bool: there is a text, but it is not a number."""

    @property
    def finite(self) -> np.ndarray:
        """(n,) bool: a finite number."""
        return np.isfinite(self.values)

    @property
    def not_finite(self) -> np.ndarray:
        """(n,) bool: the source says NaN or infinity."""
        return ~(self.missing | self.unreadable | self.finite)


def numbers(name: str, column: pa.ChunkedArray, scale: float = 1.0) -> Numbers:
    """Read numbers, multiplied by `scale` (1000: seconds to milliseconds)."""
    if is_text(column.type):
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        missing = bools(pc.fill_null(pc.equal(text, ""), True))
        readable = bools(pc.fill_null(pc.match_substring_regex(text, NUMBER), False))
        floats = pc.if_else(pa.array(readable), text, None).cast(pa.float64())
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        floats = column.cast(pa.float64(), safe=False)
        missing = bools(column.is_null())
        readable = ~missing
    else:
        raise InputError(f"column {name!r} has type {column.type}; it must hold numbers or texts")
    with np.errstate(over="ignore"):  # 1e308 seconds are infinite milliseconds
        values = np.asarray(floats, np.float64) * scale
    return Numbers(name, column, values, missing, ~readable & ~missing)


def clock_times(name: str, column: pa.ChunkedArray, scale: float) -> Numbers:
    """Read times in a video, or lengths, as milliseconds: numbers multiplied by `scale` (1000 for seconds), times as
    people write them (0:02, 1:02:03.5, PT1M2S), or an Arrow duration or time of day."""
    if pa.types.is_duration(column.type):
        return numbers(name, column.cast(pa.duration("us")).cast(pa.int64()), 1e-3)
    if pa.types.is_time(column.type):
        return numbers(name, column.cast(pa.time64("us")).cast(pa.int64()), 1e-3)
    read = numbers(name, column, scale)
    rows = np.flatnonzero(read.unreadable)
    if not len(rows):
        return read
    text = pc.utf8_trim_whitespace(column.take(pa.array(rows)).cast(pa.string()))
    values, unreadable = read.values.copy(), read.unreadable.copy()
    values[rows] = np.where(np.isnan(found := _clock_ms(text, CLOCK)), _clock_ms(text, PERIOD), found)
    unreadable[rows] = np.isnan(values[rows])
    return Numbers(name, column, values, read.missing, unreadable)


def _clock_ms(text: pa.ChunkedArray, pattern: str) -> np.ndarray:
    """(n,) float64: milliseconds of texts of a pattern with the groups sign, h, m or mm, and s; NaN for others."""
    fields = pc.extract_regex(text, pattern)

    def part(name: str) -> np.ndarray:
        digits = pc.fill_null(pc.struct_field(fields, name), "") if f"<{name}>" in pattern else ""
        digits = pc.if_else(pc.equal(digits, ""), "0", pc.replace_substring(digits, ",", "."))
        return np.asarray(digits.cast(pa.float64()), np.float64)

    seconds = part("h") * 3600 + (part("m") + part("mm")) * 60 + part("s")
    minus = bools(pc.fill_null(pc.equal(pc.struct_field(fields, "sign"), "-"), False))
    return np.where(bools(fields.is_valid()), np.where(minus, -1e3, 1e3) * seconds, np.nan)


def identities(name: str, column: pa.ChunkedArray, floats: bool | None = None) -> pa.ChunkedArray:
    """Read identities of users or videos, by one rule for every format. NaN, null and an empty text are missing.

    A text is taken as it is, without the spaces around it: "012" and "12" are two users. An integer is its digits. A
    float is an identity only if it is whole and so small that no other integer becomes the same float: 12.0 is "12".
    The same holds for a column of texts that are all floats as programs write them (12.0, 1.5e+18), because a table
    program writes such a column if one of its integers was missing. `floats`: whether the texts are such, where this is
    a piece of the column. Raises InputError for any other float or decimal.
    """
    column = _plain(column)
    if pa.types.is_floating(column.type):
        return _whole_floats(name, column)
    if pa.types.is_decimal(column.type):
        try:
            return column.cast(pa.decimal256(76, 0)).cast(pa.string())
        except pa.ArrowInvalid:
            raise InputError(f"column {name!r} has type {column.type}; {WHOLE}, and some are not") from None
    text = texts(name, column, trim=True)
    if written_floats(text) if floats is None else floats:
        return _whole_floats(name, text.cast(pa.float64()))
    return text


def written_floats(text: pa.ChunkedArray) -> bool | None:
    """Whether all texts of a column are floats as programs write them; None if there is none."""
    return pc.all(pc.match_substring_regex(text, WRITTEN_FLOAT)).as_py()


def _whole_floats(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as the digits of integers, NaN as null. Raises InputError for the first one that may be another's."""
    above = EXACT[column.type]
    values = column.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), None, values)
    wrong = values.filter(pc.invert(pc.and_(pc.less(pc.abs(values), above), pc.equal(pc.floor(values), values))))
    if len(wrong):
        raise InputError(
            f"column {name!r} holds the {column.type} {wrong[0].as_py()!r}; {WHOLE} below {above:,}, since a larger "
            "one is rounded and two users or videos would become one; write the column as integers or texts"
        )
    return values.cast(pa.int64()).cast(pa.string())


def texts(name: str, column: pa.ChunkedArray, *, trim: bool = False) -> pa.ChunkedArray:
    """Read texts; empty ones are null. `trim` removes spaces around them. For who and which video: `identities`."""
    column = _plain(column)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise InputError(f"column {name!r} has type {column.type}; it must hold texts or numbers")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    text = column.cast(pa.string())
    if trim:
        text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(text, ""), None, text)


def text_lists(name: str, column: pa.ChunkedArray, separator: str = "|") -> pa.ChunkedArray:
    """Read lists of texts: a list column as it is, a text split at the separator. Empty lists are null."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = column.cast(pa.list_(pa.string()))
    else:
        lists = pc.split_pattern(texts(name, column), separator)
    return pc.if_else(pc.equal(pc.list_value_length(lists), 0), None, lists)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column itself; of one with a dictionary, its values."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def bools(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(n,) bool of a column without nulls."""
    return np.asarray(column).astype(bool)
