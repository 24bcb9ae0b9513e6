"""Who a record is of: each identity is read as it was written, or refused, and two never become one."""

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.pipeline import sources
from reelmill.pipeline.sources import Dialect, SourceResult
from reelmill.storage.errors import InputError

LETTERS = "abcXYZ019-_.:/éß中🎬\x01\x07\x1b\u200b\ufeff'#;"


def read(path: Path) -> SourceResult:
    return sources.read(path, "mapped", mapping={"user_id": "user", "video_id": "=v", "text": "row"})


def parquet(path: Path, users: pa.Array) -> Path:
    pq.write_table(pa.table({"user": users, "row": [str(n) for n in range(len(users))]}), path)
    return path


def text(path: Path, users: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(["user", "row"])
        writer.writerows([user, n] for n, user in enumerate(users))
    return path


def lines(path: Path, users: list[Any]) -> Path:
    path.write_text("".join(json.dumps({"user": user, "row": str(n)}) + "\n" for n, user in enumerate(users)))
    return path


def found(result: SourceResult) -> dict[int, str]:
    """{row: its user}"""
    rows, users = result.events["text"].to_pylist(), result.events["user_id"].to_pylist()
    return dict(zip(map(int, rows), users, strict=True))


def random_integers(rng: Random, count: int) -> list[int]:
    """Of every length up to 64 bits, with a sign; many around 2⁵³."""
    numbers = {rng.randrange(2 ** rng.randint(1, 63)) * rng.choice((1, 1, -1)) for _ in range(count)}
    return sorted(numbers | {2**53 + n for n in range(-40, 40)})


def random_texts(rng: Random, count: int) -> list[str]:
    """Numbers as text, with zeros before or a point after them, and words with signs and control characters."""
    kinds = (
        lambda: str(rng.randrange(2**64)),
        lambda: f"{rng.randrange(1000):0{rng.randint(1, 6)}}",
        lambda: repr(rng.uniform(-1e20, 1e20)),
        lambda: f"{rng.randrange(100)}.0",
        lambda: "".join(rng.choices(LETTERS, k=rng.randint(1, 12))),
    )
    return list(dict.fromkeys(rng.choice(kinds)() for _ in range(count)))


WAYS = [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", "-headerless.csv", ".inter"]
"""Ends of the names of files: every format, packed, without a header, and as RecBole has them."""


def through(folder: Path, way: str, users: list[Any], kind: pa.DataType | None = None) -> dict[int, str]:
    """{row: its user} of a file that holds these users. `kind`: of the column in Parquet."""
    path = folder / f"ids{way}"
    plain = path.with_name(path.name.removesuffix(".gz"))
    if plain.suffix == ".parquet":
        parquet(plain, pa.array(users, kind))
    elif plain.suffix == ".jsonl":
        lines(plain, users)
    elif plain.suffix == ".inter":
        rows = "".join(f"{user}\t{n}\n" for n, user in enumerate(users))
        plain.write_text("user_id:token\titem_id:token\n" + rows)
        events = sources.read(plain, "recbole").events
        return dict(zip(map(int, events["video_id"].to_pylist()), events["user_id"].to_pylist(), strict=True))
    else:
        text(plain, [str(user) for user in users])
    if "headerless" in way:
        plain.write_bytes(plain.read_bytes().partition(b"\n")[2])
        by_number = {"user_id": "1", "video_id": "=v", "text": "2"}
        return found(sources.read(plain, "mapped", mapping=by_number, dialect=Dialect(header=False)))
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
    return found(read(path))


@pytest.mark.parametrize("way", WAYS)
def test_ten_thousand_texts_come_back_as_they_are(tmp_path: Path, way: str) -> None:
    users = random_texts(Random(1), 10_000)
    assert through(tmp_path, way, users) == dict(enumerate(users))
    assert len(users) > 7000


@pytest.mark.parametrize("way", WAYS)
def test_ten_thousand_integers_come_back_as_their_digits(tmp_path: Path, way: str) -> None:
    users = random_integers(Random(2), 10_000)
    assert through(tmp_path, way, users, pa.int64()) == {n: str(user) for n, user in enumerate(users)}


@pytest.mark.parametrize("way", WAYS)
def test_integers_as_floats_come_back_as_integers(tmp_path: Path, way: str) -> None:
    """As pandas writes a column with a gap; those from 2⁵³ are refused, the row in JSON lines, else the source."""
    whole = [user for user in random_integers(Random(4), 10_000) if abs(user) < 2**53]
    assert through(tmp_path, way, [float(user) for user in whole]) == {n: str(user) for n, user in enumerate(whole)}
    large = [float(2**53), *map(float, whole)]
    if ".jsonl" in way:
        assert through(tmp_path, way, large) == {n: str(user) for n, user in enumerate(whole, 1)}
    else:
        with pytest.raises(InputError, match=r"holds the double 9007199254740992\.0"):
            through(tmp_path, way, large)


def test_integers_that_came_through_floats_are_equal_or_refused(tmp_path: Path) -> None:
    users = random_integers(Random(3), 10_000)
    floats = np.array(users, np.float64)
    exact = [n for n, user in enumerate(users) if abs(user) < 2**53]
    assert 1000 < len(exact) < len(users)
    expected = {n: str(users[at]) for n, at in enumerate(exact)}
    assert found(read(parquet(tmp_path / "exact.parquet", pa.array(floats[exact])))) == expected
    assert found(read(lines(tmp_path / "exact.jsonl", floats[exact].tolist()))) == expected
    assert found(read(text(tmp_path / "exact.csv", [repr(floats[n].item()) for n in exact]))) == expected
    with pytest.raises(InputError, match="column 'user' holds the double"):
        read(parquet(tmp_path / "all.parquet", pa.array(floats)))
    with pytest.raises(InputError, match="column 'user' holds the double"):
        read(text(tmp_path / "all.csv", [repr(number) for number in floats.tolist()]))
    result = read(lines(tmp_path / "all.jsonl", floats.tolist()))
    assert found(result) == {n: str(users[n]) for n in exact}
    assert result.reasons() == {"malformed_row": len(users) - len(exact)}


def test_a_missing_user_makes_no_float_of_the_others(tmp_path: Path) -> None:
    """What pandas writes for the integers 123456789012, missing, 12."""
    expected = {0: "123456789012", 2: "12"}
    floats = [123456789012.0, None, 12.0]
    assert found(read(parquet(tmp_path / "a.parquet", pa.array(floats)))) == expected
    assert found(read(parquet(tmp_path / "nan.parquet", pa.array(np.array(floats, float))))) == expected
    assert found(read(parquet(tmp_path / "words.parquet", pa.array(floats).dictionary_encode()))) == expected
    assert found(read(lines(tmp_path / "a.jsonl", floats))) == expected
    assert found(read(text(tmp_path / "a.csv", ["123456789012.0", "", "12.0"]))) == expected
    assert found(read(lines(tmp_path / "b.jsonl", [12, 12.0, "12", "012"]))) == {0: "12", 1: "12", 2: "12", 3: "012"}


@pytest.mark.parametrize(
    ("users", "told"),
    [
        (pa.array([2.0**53]), "double 9007199254740992.0.* below 9,007,199,254,740,992"),
        (pa.array([1.5]), "double 1.5"),
        (pa.array([float("-inf")]), "double -inf"),
        (pa.array(np.array([16_777_217], np.float32)), "float 16777216.0.* below 16,777,216"),
        (pa.array([Decimal("5.5")]), "whole number, and some are not"),
    ],
)
def test_what_may_be_another_user_is_refused(tmp_path: Path, users: pa.Array, told: str) -> None:
    with pytest.raises(InputError, match=f"'user'.*{told}"):
        read(parquet(tmp_path / "ids.parquet", users))


def test_other_numbers_that_are_exact(tmp_path: Path) -> None:
    for number, users in enumerate(
        (
            pa.array([Decimal("12.00"), Decimal("7.00"), None]),
            pa.array([12.0, 7.0, None], pa.float32()),
            pa.array(np.array([12, 7, np.nan], np.float16)),
            pa.array([12, 7, None], pa.uint64()),
        )
    ):
        assert found(read(parquet(tmp_path / f"{number}.parquet", users))) == {0: "12", 1: "7"}


def test_json_says_which_value_is_no_identity(tmp_path: Path) -> None:
    result = read(lines(tmp_path / "ids.jsonl", [1.5, 1e300, [1], 3]))
    assert found(result) == {3: "3"}
    details = result.rejects["detail"].to_pylist()
    assert "user: 1.5 is no identity" in details[0]
    assert "below 9,007,199,254,740,992; write an integer or a text" in details[1]
    assert "a list" in details[2]
