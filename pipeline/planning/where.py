"""A filter over the rows of a table, as text: `uploader = 'x' and duration_ms > 60000`. It is parsed, never executed as
code.

    column = 'text'      also !=, <, <=, >, >=; a time is compared with '2026-01-31' or '2026-01-31 18:00', UTC
    column in ('a', 'b')     column like 'a%'     column is null     column is not null     a column of true and false
    and, or, not, brackets; `not in`, `not like`

A condition on a list (tags) is true if it is true for one of its elements. As in SQL, a comparison with null is neither
true nor false: such rows are left out.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.errors import InputError, nearest

Kind = Literal["text", "number", "word", "sign", "end"]

COMPARED = {
    "=": pc.equal, "==": pc.equal, "!=": pc.not_equal, "<>": pc.not_equal,
    "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
WORDS = ("and", "or", "not", "in", "like", "is", "null", "true", "false")
DEEPEST = 50
"""Most nested brackets and `not`, which bounds the recursion."""

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)


@dataclass(frozen=True)
class _Token:
    kind: Kind
    text: str
    place: int


def chosen(table: pa.Table, where: str) -> pa.Table:
    """The rows that match the filter. Raises InputError, with the nearest column or the place of the mistake."""
    return table.filter(_Filter(table, where).mask())


def time_of(text: str) -> datetime:
    """A day or a time (ISO 8601) in UTC, which is assumed if no zone is given. Raises ValueError."""
    found = datetime.fromisoformat(text.strip())
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class _Filter:
    """One filter on one table, by recursive descent: a method for each level of the grammar, each gives a mask."""

    def __init__(self, table: pa.Table, where: str) -> None:
        self.table, self.where = table.combine_chunks(), where
        self.tokens = self._split()
        self.at = self.depth = 0

    def mask(self) -> Any:
        """(rows,) booleans, null where the condition is neither true nor false."""
        found = self._or()
        if self._next.kind != "end":
            raise self._wrong("`and`, `or` or the end")
        return found

    def _split(self) -> list[_Token]:
        tokens, place = [], 0
        while self.where[place:].strip():
            match = _TOKEN.match(self.where, place)
            if match is None:
                raise self._refuse(place, "neither a column, a number, nor a text in single quotes", self.where[place:])
            kind: Any = match.lastgroup
            tokens.append(_Token(kind, match[kind], match.start(kind)))
            place = match.end()
        return [*tokens, _Token("end", "", len(self.where))]

    @property
    def _next(self) -> _Token:
        return self.tokens[self.at]

    def _take(self) -> _Token:
        token = self._next
        self.at += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        """Whether the next token is one of these words or signs; if so, it is consumed."""
        token = self._next
        found = token.kind in ("word", "sign") and token.text.lower() in texts
        self.at += found
        return found

    def _or(self) -> Any:
        mask = self._and()
        while self._is("or"):
            mask = pc.or_kleene(mask, self._and())
        return mask

    def _and(self) -> Any:
        mask = self._not()
        while self._is("and"):
            mask = pc.and_kleene(mask, self._not())
        return mask

    def _not(self) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise InputError(f"--where: more than {DEEPEST} nested brackets")
        try:
            if self._is("not"):
                return pc.invert(self._not())
            if self._is("("):
                mask = self._or()
                if not self._is(")"):
                    raise self._wrong("`)`")
                return mask
            return self._compared()
        finally:
            self.depth -= 1

    def _compared(self) -> Any:
        token = self._take()
        if token.kind != "word" or token.text.lower() in WORDS:
            self.at -= token.kind != "end"
            raise self._wrong("a column")
        if token.text not in self.table.column_names:
            raise InputError(f"--where: column {token.text!r}: {nearest(token.text, self.table.column_names)}")
        column = self.table[token.text]
        if self._is("is"):
            negated = self._is("not")
            if not self._is("null"):
                raise self._wrong("`null`")
            return pc.is_valid(column) if negated else pc.is_null(column)
        sign = self._next.text.lower() if self._next.kind in ("sign", "word") else ""
        if sign not in COMPARED and sign not in ("in", "like", "not"):
            if pa.types.is_boolean(column.type):
                return column.combine_chunks()
            raise self._wrong("=, !=, <, <=, >, >=, in, like or is")
        return self._operation(token.text, column)

    def _operation(self, name: str, column: Any) -> Any:
        """What follows a column: an operator and its literal."""
        lists = column.combine_chunks() if pa.types.is_list(column.type) else None
        values = column if lists is None else pc.list_flatten(lists)
        negated = self._is("not")
        if self._is("in"):
            mask = self._listed(name, values)
        elif self._is("like"):
            if not pa.types.is_string(values.type):
                raise InputError(f"--where: {name} is {values.type}, not text: `like` does not fit it")
            mask = pc.match_like(values, self._literal(name, values.type).as_py())
        else:
            if negated:
                raise self._wrong("`in` or `like`")
            sign = self._take().text
            negated = lists is not None and sign in ("!=", "<>")
            mask = COMPARED["=" if negated else sign](values, self._literal(name, values.type))
        mask = mask if lists is None else _any_element(lists, mask)
        return pc.invert(mask) if negated else mask

    def _listed(self, name: str, values: Any) -> Any:
        if not self._is("("):
            raise self._wrong("`(`")
        mask = pc.equal(values, self._literal(name, values.type))
        while self._is(","):
            mask = pc.or_kleene(mask, pc.equal(values, self._literal(name, values.type)))
        if not self._is(")"):
            raise self._wrong("`,` or `)`")
        return mask

    def _literal(self, name: str, kind: pa.DataType) -> pa.Scalar:
        """The next token as a value of a column's type. Raises InputError if it has another type."""
        token = self._take()
        text = token.text[1:-1].replace("''", "'") if token.kind == "text" else token.text
        try:
            if pa.types.is_timestamp(kind) and token.kind == "text":
                return pa.scalar(time_of(text), kind)
            if pa.types.is_string(kind) and token.kind == "text":
                return pa.scalar(text)
            if pa.types.is_boolean(kind) and text.lower() in ("true", "false") and token.kind == "word":
                return pa.scalar(text.lower() == "true")
            if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and token.kind == "number":
                return pa.scalar(float(text)) if set(text) & set(".eE") else pa.scalar(int(text), pa.int64())
        except (ValueError, OverflowError, pa.ArrowInvalid) as error:
            raise InputError(f"--where: {text!r} for {name}: {error}") from None
        wanted = "a time such as '2026-01-31'" if pa.types.is_timestamp(kind) else _WANTED.get(str(kind), "a number")
        self.at -= token.kind != "end"
        raise self._wrong(f"{wanted}, since {name} is {kind}")

    def _wrong(self, wanted: str) -> InputError:
        return self._refuse(self._next.place, f"expected {wanted}", self._next.text)

    def _refuse(self, place: int, rule: str, found: str) -> InputError:
        what = f"at {found[:20]!r} (character {place + 1})" if found else "at its end"
        return InputError(f"--where {self.where!r}: {rule} {what}; such as \"uploader = 'x' and duration_ms > 60000\"")


def _any_element(lists: Any, mask: Any) -> Any:
    """Which lists have an element for which the mask (elements,) is true; null where there is no list."""
    rows = pc.unique(pc.list_parent_indices(lists).filter(pc.fill_null(mask, False)))
    found = pc.is_in(pa.array(range(len(lists)), rows.type), value_set=rows)
    return pc.if_else(pc.is_valid(lists), found, None)


_WANTED = {"string": "a text in single quotes", "bool": "true or false"}
