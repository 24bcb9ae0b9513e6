"""The form of a text table: encoding, separator, quotes, and whether the first line names the columns.

Each is told by the user (`Dialect`) or found on the beginning of the file, and `Form.described` says which it is. What
is found:

    encoding    that of a byte order mark (UTF-8, UTF-16); latin-1 where more bytes are no UTF-8 than are; else UTF-8
    separator   that of the suffix (comma, tab), unless another one divides the lines evenly and it does not
    header      none if a cell of the first line is a number; such columns are called 1, 2, 3 …; unless the mapping
                names more columns the other way
    quote       the double quote
"""

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reelmill.pipeline.sources import bounds
from reelmill.storage.errors import InputError

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", "::": "double colon", " ": "space"}
"""Separators that are looked for, and their names."""
BY_SUFFIX = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".inter": "\t", ".item": "\t", ".user": "\t", ".data": "\t",
             ".dat": "::", ".txt": "\t"}  # fmt: skip
"""Suffixes of text tables, before `.gz`, and their usual separators."""
HEAD_BYTES = 1 << 20
HEAD_LINES = 200
"""Lines on which a separator is looked for."""
EVEN = 0.95
"""Share of these lines that a separator must divide into the same number of fields."""
PIECE_BYTES = 4 << 20
"""A file is read in pieces of this size."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MOST_LINE = 64 << 20
"""Bytes of the longest line; more is no table."""


@dataclass(frozen=True)
class Dialect:
    """What the user says of the form of a text table; None: it is found."""

    header: bool | tuple[str, ...] | None = None
    """Whether the first line names the columns; or the names, for a file without such a line."""
    separator: str | None = None
    encoding: str | None = None
    quote: str | None = None
    """One ASCII character, or `none`."""


@dataclass(frozen=True)
class Form:
    """The form of a text table."""

    names: tuple[str, ...]
    header: bool
    """Whether the first line is no row."""
    separator: str
    encoding: str
    quote: str
    """Empty: there are no quotes."""
    found: tuple[str, ...]
    """What was not told and is not usual, such as `header`."""

    def described(self) -> str:
        """`separator comma, UTF-8, names in the first line`, with what was found on the file."""
        words = {
            "separator": f"separator {SEPARATORS.get(self.separator, repr(self.separator))}",
            "encoding": self.encoding,
            "header": "names in the first line" if self.header else f"no header, columns {', '.join(self.names)}",
        }
        if self.quote != '"':
            words["quote"] = f"quote {self.quote}" if self.quote else "no quotes"
        return ", ".join(f"{word} (found)" if key in self.found else word for key, word in words.items())


def suffix_of(path: Path) -> str:
    """`.csv` of `likes.CSV.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def find(path: Path, told: Dialect) -> Form:
    """The form of a file. Raises InputError for a file that cannot be read, or has no first line."""
    beginning = b"".join(raw_pieces(path, HEAD_BYTES))
    encoding = told.encoding or _encoding(path, beginning)
    found = ["encoding"] if told.encoding is None and encoding != "UTF-8" else []
    lines = _lines(path, beginning, encoding)
    usual = BY_SUFFIX.get(suffix_of(path), ",")
    separator = told.separator or _separator(lines, usual)
    if told.separator is None and separator != usual:
        found.append("separator")
    quote = '"' if told.quote is None else "" if told.quote == "none" else told.quote
    if len(separator) > 1:
        quote = ""
    first = _cells(path, lines[0] if lines else "", separator, quote)
    header = told.header
    if header is None:
        header = not any(_is_number(cell) for cell in first)
        found += [] if header else ["header"]
    if isinstance(header, tuple):
        return Form(header, False, separator, encoding, quote, tuple(found))
    if header and not (lines and lines[0]):
        raise InputError(f"{path}: the first line is empty; it must hold the names of the columns")
    names = tuple(first) if header else tuple(str(number) for number in range(1, len(first) + 1))
    return Form(names, header, separator, encoding, quote, tuple(found))


def pieces(path: Path, form: Form) -> Iterator[bytes]:
    """The rows of a file as UTF-8, in pieces that end anywhere; without byte order mark and header."""
    header = form.header
    rest = b""
    for number, piece in enumerate(_decoded(raw_pieces(path), form.encoding, path)):
        data = piece.removeprefix(b"\xef\xbb\xbf") if number == 0 else piece
        if header:
            data = rest + data
            head, newline, rest = data.partition(b"\n")
            if not newline:
                rest = head
                continue
            header, data = False, rest
        yield data


def raw_pieces(path: Path, most: int | None = None) -> Iterator[bytes]:
    """The content of a file in pieces, unpacked if its name ends in `.gz`; `most`: only so many bytes. Raises
    InputError if it cannot be read, or unpacks to far more than its size."""
    try:
        size, total = path.stat().st_size, 0
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            while piece := file.read(PIECE_BYTES if most is None else min(PIECE_BYTES, most - total)):
                total += len(piece)
                if path.suffix.lower() == ".gz":
                    bounds.check_unpacked(total, size, path)
                yield piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the path of a file") from error


def _decoded(raw: Iterator[bytes], encoding: str, path: Path) -> Iterator[bytes]:
    """The same in UTF-8; bytes that are no UTF-8 stay in a file that is said to be UTF-8, and become rejects."""
    if encoding == "UTF-8":
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in raw:
            yield decoder.decode(piece).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        raise InputError(f"{path} is not {encoding} ({error}); give another source.encoding") from error


def encoding_named(name: str) -> str:
    """The one spelling of an encoding of the user. Raises ValueError if there is none of this name."""
    try:
        codec = codecs.lookup(name)
    except LookupError:
        raise ValueError(
            f"{name!r} is no encoding; give one such as utf-8, latin-1, cp1252, utf-16 or gb18030"
        ) from None
    if not getattr(codec, "_is_text_encoding", True):
        raise ValueError(f"{name!r} is no encoding of text")
    return {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "iso8859-1": "latin-1"}.get(codec.name, codec.name)


def _encoding(path: Path, beginning: bytes) -> str:
    """By a byte order mark, else by all bytes of the file."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if beginning.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    bad = good = 0
    for piece in raw_pieces(path):
        if not piece.isascii():
            text = piece.decode("utf-8", "surrogateescape")
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            wrong = int(((points >= 0xDC80) & (points <= 0xDCFF)).sum())
            bad, good = bad + wrong, good + int((points > 0x7F).sum()) - wrong
    return "latin-1" if bad > good else "UTF-8"


def _lines(path: Path, beginning: bytes, encoding: str) -> list[str]:
    """The first lines, as text; a last one that is cut off is not among them."""
    whole = len(beginning) < HEAD_BYTES
    try:
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding == "UTF-8" else "strict")
        text = decoder.decode(beginning, final=whole)
    except UnicodeError as error:
        raise InputError(f"{path} is not {encoding} ({error}); give another source.encoding") from error
    lines = text.removeprefix("\ufeff").split("\n")
    if not whole and len(lines) > 1:
        lines.pop()
    return [line.removesuffix("\r") for line in lines[:HEAD_LINES]]


def _separator(lines: list[str], usual: str) -> str:
    """The usual one, unless it divides the lines unevenly or not at all, and another divides them evenly."""
    lines = [line for line in lines if line]
    if not lines or (usual in lines[0] and _evenness(lines, usual) >= EVEN):
        return usual
    even = [s for s in SEPARATORS if s != usual and s in lines[0] and _evenness(lines, s) >= EVEN]
    if usual == "::" and not even:  # a .dat without double colons
        return usual
    return even[0] if even else usual


def _evenness(lines: list[str], separator: str) -> float:
    """Share of the lines that have as many separators outside of quotes as most of them have; 0 if that is none."""
    counts = Counter(line.count(separator) if '"' not in line else _outside(line, separator) for line in lines)
    number, often = counts.most_common(1)[0]
    return often / len(lines) if number else 0.0


def _outside(line: str, separator: str) -> int:
    return sum(part.count(separator) for part in line.split('"')[::2])


def _cells(path: Path, line: str, separator: str, quote: str) -> list[str]:
    """The cells of a line."""
    if len(separator) > 1 or not quote:
        return [cell.strip() for cell in line.split(separator)]
    try:
        read = csv.reader([line], delimiter=separator, quotechar=quote, strict=True)
        return [cell.strip() for cell in next(read, [])]
    except csv.Error as error:
        raise InputError(f"{path}: the first line holds no column names ({error}); is it a text file?") from error


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None
