"""Stores in the other format, and stores made of fewer parts."""

import shutil
from pathlib import Path

import pytest

from reelmill.storage import hdf5, open_store, parts
from reelmill.storage.compact import compact
from reelmill.storage.errors import CorruptPart, InputError, StoreError
from reelmill.storage.export import export
from reelmill.storage.features import Format, list_stores
from reelmill.storage.shards import SUFFIX
from tests.stores import block, fill, formats, same


@pytest.mark.parametrize(("one", "other"), [("hdf5", "parquet"), ("parquet", "hdf5")])
def test_export_goes_both_ways(tmp_path: Path, one: Format, other: Format) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, [block("a"), block("b", 0), block("c", seed=1)], one, per_shard=2)
    fill(here, [block("a", 8, seed=2)], one)
    fill(there, [block("b", 0)], other)
    assert export(here, "c3d", there, other) == 2
    assert export(here, "c3d", there, other) == 0
    source, copy = open_store(here, "c3d"), open_store(there, "c3d")
    assert copy.keys() == source.keys() == ["a", "b", "c"]
    assert all(same(source.read(v), copy.read(v)) for v in "abc")
    assert {shard.path.suffix for shard in copy.shards} == {SUFFIX[other]}
    with pytest.raises(InputError, match="to itself"):
        export(here, "c3d", tmp_path / "x" / ".." / "here", other)


def test_damage_is_not_copied(tmp_path: Path) -> None:
    folder = fill(tmp_path / "here", [block("a", 300)])
    fill(tmp_path / "here", [block("b")])
    part = parts.list_parts(folder)[0]
    good = bytearray(part.read_bytes())
    good[len(good) // 3] ^= 1
    part.write_bytes(good)
    with pytest.raises(CorruptPart, match=part.name):
        export(tmp_path / "here", "c3d", tmp_path / "there", "parquet")
    with pytest.raises(CorruptPart, match=part.name):
        compact(tmp_path / "here", "c3d")
    assert list_stores(tmp_path / "there") == []
    assert len(parts.list_parts(folder)) == 2


@formats
def test_compact_merges_and_drops_doubles(tmp_path: Path, format: Format) -> None:
    blocks = {f"v{n}": block(f"v{n}", n % 4) for n in range(30)}
    folder = fill(tmp_path, list(blocks.values()), format, per_shard=4)
    fill(tmp_path, [block("v3", 6, seed=1), block("v4", 6, seed=1)], format)
    blocks |= {v: block(v, 6, seed=1) for v in ("v3", "v4")}
    newest = parts.newest(folder)
    early = open_store(tmp_path, "c3d")
    early.read("v1")
    done = compact(tmp_path, "c3d")
    assert (done.parts_before, done.parts_after, done.dropped) == (9, 1, 2)
    assert parts.newest(folder) == newest, "what is written meanwhile is newer"
    for store in (open_store(tmp_path, "c3d"), early):
        assert all(same(store.read(v), b) for v, b in blocks.items())
    assert compact(tmp_path, "c3d") == type(done)(1, 1, 0)


def test_compact_leaves_large_shards_alone(tmp_path: Path) -> None:
    folder = fill(tmp_path, [block("a", 100), block("b", 100)], per_shard=1)
    fill(tmp_path, [block("c"), block("d")], per_shard=1)
    large = parts.list_parts(folder)[:2]
    assert compact(tmp_path, "c3d", shard_bytes=large[0].stat().st_size).parts_after == 3
    assert parts.list_parts(folder)[:2] == large
    fill(tmp_path, [block("a", 3)])
    assert compact(tmp_path, "c3d", shard_bytes=1).dropped == 1
    assert same(open_store(tmp_path, "c3d").read("a"), block("a", 3))


def test_rows_of_a_shard_that_went_away(tmp_path: Path) -> None:
    folder = fill(tmp_path, [block("a"), block("b")], per_shard=1)
    store = open_store(tmp_path, "c3d")
    rows = store.locate([("a", 0), ("b", 0)])
    compact(tmp_path, "c3d")
    hdf5._mapped.cache_clear()
    with pytest.raises(StoreError, match="open the store again"):
        store.take(rows)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="holds no shard"):
        store.read("a")
