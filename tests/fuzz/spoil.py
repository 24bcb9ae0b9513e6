"""How bytes are spoilt. Everything that is drawn comes from the generator that is given."""

from collections.abc import Callable, Sequence
from random import Random

NUMBERS = (
    "0", "-0", "-1", "1e308", "1e309", "-1e999", "9" * 400, "0x10", "1_000", "1,5", "٣", "nan", "-inf", "Infinity",
    "1e-320", "2147483648", "9223372036854775808", "604800.001", "253402300800", "00012", "+5", " 7 ", ".", "5.",
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "null", "True", "=cmd|' /C calc'!A0", "'; DROP TABLE x;--", "<script>", "../../etc/passwd",
    "\u202e", "\ufeff", "🎬" * 9, "e\u0301", "\u2028", "\x0b\x0c\x85", "\x1b[2J", "x" * 9000, '"', '""', '"a', 'a"b',
    "\r", "\t", "{}", "[]", "[[[[", "\\", "\\u0000", "\ud83d",
)  # fmt: skip
HOSTILE = (*(text.encode("utf-8", "surrogatepass") for text in (*NUMBERS, *TEXTS)), b"\xff", b"\xc3", b"\xed\xa0\x80")


def spoil_line(line: bytes, separator: bytes, rng: Random) -> bytes:
    """A line with one to three things wrong; still one line."""
    for _ in range(rng.randint(1, 3)):
        line = rng.choice(LINE)(line, separator, rng)
    return line.replace(b"\n", b" ")


def _flip(line: bytes, separator: bytes, rng: Random) -> bytes:
    if not line:
        return b"\x80"
    at = rng.randrange(len(line))
    return line[:at] + bytes([line[at] ^ 1 << rng.randrange(8)]) + line[at + 1 :]


def _cut(line: bytes, separator: bytes, rng: Random) -> bytes:
    return line[: rng.randint(0, len(line))]


def _insert(line: bytes, separator: bytes, rng: Random) -> bytes:
    at = rng.randint(0, len(line))
    return line[:at] + rng.choice((*HOSTILE, separator, bytes([rng.randrange(256)]))) + line[at:]


def _field(line: bytes, separator: bytes, rng: Random) -> bytes:
    """Another value in one field."""
    fields = line.split(separator)
    fields[rng.randrange(len(fields))] = rng.choice(HOSTILE)
    return separator.join(fields)


def _fields(line: bytes, separator: bytes, rng: Random) -> bytes:
    """Fields in another order, one twice, or one less."""
    fields = line.split(separator)
    how = rng.randrange(3)
    if how == 0:
        rng.shuffle(fields)
    elif how == 1:
        fields.insert(rng.randint(0, len(fields)), rng.choice(fields))
    else:
        fields.pop(rng.randrange(len(fields)))
    return separator.join(fields)


def _quote(line: bytes, separator: bytes, rng: Random) -> bytes:
    fields = line.split(separator)
    at = rng.randrange(len(fields))
    fields[at] = b'"' + fields[at] + rng.choice((b'"', b'""', b"", b'" ', b'"x'))
    return separator.join(fields)


LINE: Sequence[Callable[[bytes, bytes, Random], bytes]] = (_flip, _cut, _insert, _field, _field, _fields, _quote)


def spoil_file(data: bytes, rng: Random, words: Sequence[bytes] = ()) -> bytes:
    """A file with one to four things wrong. `words`: of its format, whose neighbours are often sizes."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(FILE)(data, rng, words) if data else b"\0"
    return data


def _bits(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    reach = len(out) if rng.random() < 0.6 else min(len(out), 1200)  # headers mostly stand at the front
    for _ in range(rng.choice((1, 4, 30))):
        out[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _short(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))] if rng.random() < 0.7 else data[rng.randint(0, len(data)) :]


def _swap(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    a, b, c = sorted(rng.randint(0, len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _twice(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:b] + data[a:b] * rng.randint(1, 3) + data[b:]


def _fill(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:a] + bytes([rng.choice((0, 255, rng.randrange(256)))]) * (b - a) + data[b:]


def _number(data: bytes, rng: Random, words: Sequence[bytes]) -> bytes:
    """Another number near a word of the format, else anywhere: a size, a count, a length."""
    places = [at for word in words if (at := data.find(word, rng.randrange(len(data)))) >= 0]
    at = (rng.choice(places) if places else rng.randrange(len(data))) + rng.choice((-4, -4, 4, 8, 12, 16, 20, 40))
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(
        (0, 1, 7, 1 << 8 * size - 1, (1 << 8 * size) - 1, (1 << 8 * size - 1) - 1, rng.getrandbits(8 * size))
    )
    at = min(max(at, 0), max(len(data) - size, 0))
    return data[:at] + value.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]


FILE: Sequence[Callable[[bytes, Random, Sequence[bytes]], bytes]] = (
    _bits, _bits, _short, _swap, _twice, _fill, _number, _number, _number,
)  # fmt: skip
