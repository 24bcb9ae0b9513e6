"""Converts columns of a source, of any type, to numbers, times and texts; each value is read, missing or unreadable."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.errors import InputError

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))$"
ISO = (
    r"^(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?:Z|z|UTC|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2}))?)?$"
)

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
        missing = _bools(pc.fill_null(pc.equal(text, ""), True))
        readable = _bools(pc.fill_null(pc.match_substring_regex(text, NUMBER), False))
        floats = pc.if_else(pa.array(readable), text, None).cast(pa.float64())
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        floats = column.cast(pa.float64(), safe=False)
        missing = _bools(column.is_null())
        readable = ~missing
    else:
        raise InputError(f"column {name!r} has type {column.type}; it must hold numbers or texts")
    with np.errstate(over="ignore"):  # 1e308 seconds are infinite milliseconds
        values = np.asarray(floats, np.float64) * scale
    return Numbers(name, column, values, missing, ~readable & ~missing)


def times(name: str, column: pa.ChunkedArray) -> Numbers:
    """Read points in time as milliseconds since 1970 UTC: Unix seconds, ISO 8601 texts, or Arrow dates and timestamps.

    A time without a zone is taken as UTC.
    """
    if (
        pa.types.is_temporal(column.type)
        and not pa.types.is_time(column.type)
        and not pa.types.is_duration(column.type)
    ):
        milliseconds = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        return numbers(name, milliseconds)
    read = numbers(name, column, 1000.0)
    if not read.unreadable.any():
        return read
    rows = np.flatnonzero(read.unreadable)
    values, unreadable = read.values.copy(), read.unreadable.copy()
    values[rows] = _iso_ms(pc.utf8_trim_whitespace(column.take(pa.array(rows)).cast(pa.string())))
    unreadable[rows] = np.isnan(values[rows])
    return Numbers(name, column, values, read.missing, unreadable)


def identities(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read identities of users or videos, by one rule for every format. NaN, null and an empty text are missing.

    A text is taken as it is, without the spaces around it: "012" and "12" are two users. An integer is its digits. A
    float is an identity only if it is whole and so small that no other integer becomes the same float: 12.0 is "12".
    The same holds for a column of texts that are all floats as programs write them (12.0, 1.5e+18), because a table
    program writes such a column if one of its integers was missing. Raises InputError for any other float or decimal.
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
    if text.null_count < len(text) and pc.all(pc.match_substring_regex(text, WRITTEN_FLOAT)).as_py():
        return _whole_floats(name, text.cast(pa.float64()))
    return text


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


def _iso_ms(text: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64: milliseconds since 1970 of ISO 8601 texts, NaN for other texts."""
    fields = pc.extract_regex(text, ISO)
    found = _bools(fields.is_valid())

    def part(name: str) -> np.ndarray:
        digits = pc.fill_null(pc.struct_field(fields, name), "")
        return pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy()

    year, month, day = part("year"), part("month"), part("day")
    hour, minute, second = part("hour"), part("minute"), part("second")
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    days = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    zone_hour, zone_minute = part("zone_hour"), part("zone_minute")
    found &= (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days)
    found &= (hour < 24) & (minute < 60) & (second < 60) & (zone_hour < 24) & (zone_minute < 60)
    sign = np.where(_bools(pc.fill_null(pc.equal(pc.struct_field(fields, "sign"), "-"), False)), -1, 1)
    fraction = pc.binary_join_element_wise("0.", pc.fill_null(pc.struct_field(fields, "fraction"), ""), "")
    seconds = (first.astype("datetime64[D]").astype(np.int64) + day - 1) * 86_400
    seconds += (hour - sign * zone_hour) * 3600 + (minute - sign * zone_minute) * 60 + second
    return np.where(found, seconds * 1000 + np.rint(fraction.cast(pa.float64()).to_numpy() * 1000), np.nan)


def _bools(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column).astype(bool)
