"""Points in time as milliseconds since 1970 UTC: Unix numbers in any unit, dates as numbers, ISO 8601, Arrow times.

The unit of numbers is told (`time_unit`) or found on the whole column, never row by row. Each number fits one unit:

    date   20200705, 202007051530 or 20200705153000: a day, maybe with its time, of the years 1900 to 2099
    s      from 10⁸ (1973) below 10¹¹, either sign
    ms     from 10¹¹ below 10¹⁴
    us     from 10¹⁴ below 10¹⁷
    ns     from 10¹⁷ below 10²⁰
    none   smaller numbers: they fit every unit, and are seconds if no number of the column says otherwise

The unit of at least two thirds of the numbers that fit one is that of the column, and the numbers that fit another are
rejected (`out_of_range`; `unparsable_time` in a column of dates). If no unit has two thirds the source is refused.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources.values import Numbers, bools, numbers
from reelmill.storage.errors import InputError

Unit = Literal["s", "ms", "us", "ns", "date"]
UNITS: tuple[Unit, ...] = get_args(Unit)
MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
"""{unit: milliseconds in it}"""
EDGES = np.array([1e8, 1e11, 1e14, 1e17, 1e20])
"""Where the units s, ms, us and ns begin, and where the last ends."""
AGREE = 2 / 3
"""Share of the numbers that fit one unit which must fit the same."""
CHANCE = 0.1
"""Share of small numbers that may look like dates by chance: of all seconds from 0 to a year 0.2 % do."""
OUTSIDE = 1e300
"""Milliseconds of a number that fits another unit than its column: beyond every limit, so the row is rejected."""
NAMES = {
    "s": "Unix seconds",
    "ms": "Unix milliseconds",
    "us": "Unix microseconds",
    "ns": "Unix nanoseconds",
    "date": "dates as numbers (YYYYMMDD)",
}

ISO = (
    r"^(?P<year>\d{4})(?:-(?P<month>\d{2})-(?P<day>\d{2})|/(?P<month2>\d{1,2})/(?P<day2>\d{1,2}))"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?:Z|z|UTC|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2}))?)?$"
)


@dataclass(frozen=True)
class TimeUnit:
    """How the numbers of a column are read."""

    unit: Unit
    strict: bool = False
    """A number that fits another unit is rejected. Not so where the user told the unit, or no number says one."""


@dataclass(frozen=True)
class UnitCounts:
    """How many numbers of a column fit which unit."""

    fit: tuple[int, ...] = (0, 0, 0, 0, 0)
    """For each of `UNITS`."""
    none: int = 0
    """Numbers other than 0 that are too small to fit one."""
    texts: int = 0
    """Values that are no numbers: ISO 8601, or unreadable."""

    def __add__(self, other: "UnitCounts") -> "UnitCounts":
        fit = tuple(a + b for a, b in zip(self.fit, other.fit, strict=True))
        return UnitCounts(fit, self.none + other.none, self.texts + other.texts)

    @classmethod
    def of(cls, read: Numbers) -> "UnitCounts":
        """Of one column, or a piece of it."""
        values = read.values[read.finite]
        fits = _fits(values)
        fit = tuple(int((fits == number).sum()) for number in range(len(UNITS)))
        return cls(fit, int(((fits < 0) & (values != 0)).sum()), int(read.unreadable.sum()))

    def found(self, name: str) -> TimeUnit:
        """The unit of column `name`. Raises InputError if its numbers fit several, and none of them clearly."""
        days = UNITS.index("date")
        total, others = sum(self.fit), sum(self.fit) - self.fit[days]
        numbers = total + (0 if others else self.none)
        best = int(np.argmax(self.fit))
        if not others and self.fit[days] <= CHANCE * numbers:
            return TimeUnit("s")
        if self.fit[best] < AGREE * numbers:
            words = [f"{n:,} are {NAMES[u]}" for u, n in zip(UNITS, self.fit, strict=True) if n]
            said = ", ".join([*words, f"{self.none:,} fit none"] if self.none else words)
            raise InputError(
                f"column {name!r} must hold times of one unit: of {total + self.none:,} numbers {said}; give "
                f"source.time_unit ({', '.join(UNITS)}), or write one unit"
            )
        return TimeUnit(UNITS[best], strict=True)

    def described(self, unit: Unit) -> str:
        """What the column was taken for, in words for the user."""
        numbers, fit, total = sum(self.fit) + self.none, self.fit[UNITS.index(unit)], sum(self.fit)
        if not numbers:
            return "ISO 8601 times" if self.texts else "times"
        how = NAMES[unit]
        if not total:
            how += ", because no number is large enough to say its unit; give source.time_unit if they are not"
        elif fit < total:
            how += f", which {fit:,} of {total:,} numbers fit; the others are rejected"
        return how + (f"; {self.texts:,} values are texts" if self.texts else "")


def is_typed(kind: pa.DataType) -> bool:
    """Whether a column of this type holds dates or timestamps, so that nothing is to be found."""
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def count(name: str, column: pa.ChunkedArray) -> UnitCounts:
    """Which units the numbers of a column fit, or of a piece of it."""
    return UnitCounts() if is_typed(column.type) else UnitCounts.of(numbers(name, column))


def read(name: str, column: pa.ChunkedArray, how: TimeUnit | None = None) -> Numbers:
    """Read points in time, by default in the unit that is found on this column. A time without a zone is UTC."""
    if is_typed(column.type):
        milliseconds = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        return numbers(name, milliseconds)
    found = numbers(name, column)
    how = how or UnitCounts.of(found).found(name)
    values, unreadable = _milliseconds(found.values, how), found.unreadable.copy()
    if how.unit == "date":
        unreadable |= found.finite & np.isnan(values)
    rows = np.flatnonzero(found.unreadable)
    if len(rows):
        values[rows] = _iso_ms(pc.utf8_trim_whitespace(column.take(pa.array(rows)).cast(pa.string())))
        unreadable[rows] = np.isnan(values[rows])
    return Numbers(name, column, values, found.missing, unreadable)


def _milliseconds(values: np.ndarray, how: TimeUnit) -> np.ndarray:
    """(n,) float64 numbers of a unit → milliseconds; NaN for a number that is no date in a column of dates."""
    if how.unit == "date":
        return np.where(np.isfinite(values), _date_ms(values), values)
    with np.errstate(over="ignore"):
        milliseconds = values * MS[how.unit]
    if how.strict:
        fits = _fits(values)
        milliseconds[(fits >= 0) & (fits != UNITS.index(how.unit))] = OUTSIDE
    return milliseconds


def _fits(values: np.ndarray) -> np.ndarray:
    """(n,) int: which of `UNITS` a number fits, −1 if none."""
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        fits = np.searchsorted(EDGES, size, side="right") - 1
    fits[(fits < 0) | (fits > 3)] = -1
    dates = np.flatnonzero((size >= 1.9e7) & (size < 2.1e13) & ((size < 2.1e7) | (size >= 1.9e11)))
    if len(dates):
        found = np.isfinite(_date_ms(values[dates]))
        fits[dates[found]] = UNITS.index("date")
    return fits


def _date_ms(values: np.ndarray) -> np.ndarray:
    """(n,) float64: milliseconds since 1970 of YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss, NaN for other numbers."""
    whole = np.isfinite(values) & (values >= 19000101) & (values < 2.1e13)
    number = np.where(whole, values, 0).astype(np.int64)
    whole &= number == values
    long, full = number >= 10**11, number >= 10**13
    day = np.where(full, number // 10**6, np.where(long, number // 10**4, number))
    clock = np.where(full, number % 10**6, np.where(long, number % 10**4 * 100, 0))
    whole &= (day >= 19000101) & (day < 21000101)
    days, valid = _days(day // 10**4, day // 100 % 100, day % 100)
    hour, minute, second = clock // 10**4, clock // 100 % 100, clock % 100
    valid &= whole & (hour < 24) & (minute < 60) & (second < 60)
    return np.where(valid, (days * 86_400 + hour * 3600 + minute * 60 + second) * 1e3, np.nan)


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, (n,) int64, and whether there is such a day, (n,) bool."""
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    length = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    valid = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    return first.astype("datetime64[D]").astype(np.int64) + day - 1, valid


def _iso_ms(text: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64: milliseconds since 1970 of ISO 8601 texts, also with slashes, NaN for other texts."""
    fields = pc.extract_regex(text, ISO)
    found = bools(fields.is_valid())

    def part(*names: str) -> np.ndarray:
        digits = pc.coalesce(*(_filled(pc.struct_field(fields, name)) for name in names), "0")
        return digits.cast(pa.int64()).to_numpy()

    days, valid = _days(part("year"), part("month", "month2"), part("day", "day2"))
    hour, minute, second = part("hour"), part("minute"), part("second")
    zone_hour, zone_minute = part("zone_hour"), part("zone_minute")
    found &= valid & (hour < 24) & (minute < 60) & (second < 60) & (zone_hour < 24) & (zone_minute < 60)
    sign = np.where(bools(pc.fill_null(pc.equal(pc.struct_field(fields, "sign"), "-"), False)), -1, 1)
    fraction = pc.binary_join_element_wise("0.", pc.fill_null(pc.struct_field(fields, "fraction"), ""), "")
    seconds = days * 86_400 + (hour - sign * zone_hour) * 3600 + (minute - sign * zone_minute) * 60 + second
    return np.where(found, seconds * 1000 + np.rint(fraction.cast(pa.float64()).to_numpy() * 1000), np.nan)


def _filled(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(text, ""), None, text)
