"""The promise of the feature stores; both formats keep the same one."""

import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from reelmill.storage import Block, FeatureStore, Spec, open_store, parts
from reelmill.storage.errors import InputError, MissingFeatures, SpecMismatch
from reelmill.storage.features import Format, list_stores, present
from reelmill.storage.formats import read_shard
from tests.stores import DIM, SPEC, block, fill, formats, same, shard_file

# --- what is written is read ------------------------------------------------------------------------------------------


@formats
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_come_back(tmp_path: Path, format: Format, dtype: str) -> None:
    spec = Spec("c3d", "fc6", DIM, "segment", dtype=dtype)  # type: ignore[arg-type]
    ids = ["a", "ü/../ \n\t💡", "-" * 5000, "no rows", "one row", "late", "long"]
    sizes = [5, 3, 4, 0, 1, 6, 700]
    blocks = [block(v, n, first=7 * (v == "late"), spec=spec) for v, n in zip(ids, sizes, strict=True)]
    fill(tmp_path, blocks, format, spec=spec)
    store = open_store(tmp_path, spec.name)
    assert store.spec == spec
    assert store.keys() == sorted(ids)
    assert len(store) == 7
    assert "a" in store
    assert "b" not in store
    assert all(same(store.read(b.video_id), b) for b in blocks)
    assert [b.video_id for b in store.blocks()] == ids
    assert [b.video_id for b in store.blocks(without={"a"})] == ids[1:]
    assert store.verify() == []
    assert present(tmp_path, spec) == set(ids)


@formats
def test_windows_share_a_segment(tmp_path: Path, format: Format) -> None:
    spec = Spec("c3d", "fc6", 2, "window")
    start = np.arange(4) * 640
    windows = Block("a", np.ones((4, 2), np.float32), np.ones(4), np.array([0, 0, 1, 1]), start, start + 640)
    fill(tmp_path, [windows], format, spec=spec)
    store = open_store(tmp_path, "c3d")
    assert store.read("a").start_ms.tolist() == [0, 640, 1280, 1920]
    with pytest.raises(InputError, match="one row a window"):
        store.locate([("a", 0)])


@formats
@pytest.mark.parametrize("blocks", [[], [block("empty", 0)], [block("a", 0), block("b", 2), block("c", 0)]])
def test_shards_with_little_in_them(tmp_path: Path, format: Format, blocks: list[Block]) -> None:
    shard = read_shard(shard_file(tmp_path, format, blocks))
    shard.verify()
    assert all(same(shard.block(n), b) for n, b in enumerate(blocks))


def test_formats_have_one_checksum(tmp_path: Path) -> None:
    blocks = [block("a"), block("b", 0), block("c", 300)]
    one, other = (read_shard(shard_file(tmp_path, format, blocks)) for format in get_args(Format))
    assert one.sha256 == other.sha256
    changed = read_shard(shard_file(tmp_path, "hdf5", [block("a", seed=1), *blocks[1:]]))
    assert changed.sha256 != one.sha256


def test_one_folder_may_hold_both_formats(tmp_path: Path) -> None:
    fill(tmp_path, [block("a"), block("b")], "parquet")
    fill(tmp_path, [block("b", seed=1), block("c")], "hdf5")
    store = open_store(tmp_path, "c3d")
    got = store.rows([("a", 4), ("c", 0), ("b", 2), ("a", 4)])
    expected = [block("a").features[4], block("c").features[0], block("b", seed=1).features[2], block("a").features[4]]
    assert np.array_equal(got, expected)


# --- rows -------------------------------------------------------------------------------------------------------------


@formats
@pytest.mark.parametrize("per_shard", [1, 3, 1024])
def test_rows_come_in_the_order_asked(tmp_path: Path, format: Format, per_shard: int) -> None:
    blocks = {f"v{n}": block(f"v{n}", n, first=n % 3) for n in range(10)}
    fill(tmp_path, list(blocks.values()), format, per_shard)
    store = open_store(tmp_path, "c3d-fc6")
    every = [(v, int(s)) for v, b in blocks.items() for s in b.segment_index]
    pairs = random.Random(0).choices(every, k=200)
    expected = np.stack([blocks[v].features[s - blocks[v].segment_index[0]] for v, s in pairs])
    assert np.array_equal(store.rows(pairs), expected, equal_nan=True)
    located = store.locate(iter(pairs))
    out = np.empty((200, DIM), np.float32)
    assert store.take(located, out) is out
    assert np.array_equal(out, expected, equal_nan=True)
    masks = [blocks[v].mask[s - blocks[v].segment_index[0]] for v, s in pairs]
    stored = {v: store.read(v) for v in blocks}
    assert [stored[v].mask[s - blocks[v].segment_index[0]] for v, s in pairs] == masks
    assert (np.isnan(expected).all(axis=1) == (np.array(masks) == 0)).all()
    assert store.rows([]).shape == (0, DIM)
    assert np.array_equal(pickle.loads(pickle.dumps(store)).take(located), expected, equal_nan=True)


@formats
def test_what_is_not_there_is_named(tmp_path: Path, format: Format) -> None:
    fill(tmp_path, [block("a", 3, first=2), block("z", 3, first=2), block("empty", 0)], format)
    store = open_store(tmp_path, "c3d")
    for pair, message in (
        (("b", 0), "video 'b' is not in c3d-fc6-"),
        (("a", 0), "segment 0 of video 'a' is not in"),
        (("a", 5), "segment 5 of video 'a'"),
        (("a", -1), "segment -1 of video 'a'"),
        (("a", 2**32 + 2), f"segment {2**32 + 2} of video 'a'"),
        (("empty", 0), "segment 0 of video 'empty'"),
    ):
        with pytest.raises(MissingFeatures, match=message):
            store.rows([("a", 2), pair])
    with pytest.raises(MissingFeatures, match="video 'b'"):
        store.read("b")
    for rows in ([-1], [6], [0, 99]):
        with pytest.raises(InputError, match="the store has 6 rows"):
            store.take(np.array(rows))
    with pytest.raises(InputError, match="expected a contiguous array"):
        store.take(np.array([0]), np.empty((1, DIM), np.float16))


def test_announced_reads_give_the_same_rows(tmp_path: Path) -> None:
    fill(tmp_path, [block(f"v{n}", 40) for n in range(6)], per_shard=2)
    store = open_store(tmp_path, "c3d")
    rows = np.random.default_rng(0).integers(0, 240, 100)
    plain = store.take(rows)
    store.__dict__["_large"] = True
    assert np.array_equal(store.take(rows), plain, equal_nan=True)
    assert np.array_equal(store.take(rows[:1]), plain[:1], equal_nan=True)


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    fill(tmp_path, [block(f"v{n:03d}", 2) for n in range(120)], per_shard=1)
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "import sys, storage\n"
        "store = storage.open_store(sys.argv[1], 'c3d')\n"
        "pairs = [(v, 1) for v in store.keys()] * 2\n"
        "assert store.rows(pairs).shape == (240, 24) and not store.verify()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


LOADER = """
import sys
from pathlib import Path
import numpy as np
import torch
from reelmill.storage import open_store
store = open_store(Path(sys.argv[1]), "c3d")
pairs = [(f"v{n}", s) for n in range(8) for s in (0, 2, 8)]
expected = store.rows(pairs)
for workers in (0, 2):
    loader = torch.utils.data.DataLoader(
        store.view(pairs),
        batch_size=7,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        timeout=60 if workers else 0,
    )
    for _ in range(2):
        assert np.array_equal(torch.cat(list(loader)).numpy(), expected)
"""


@formats
def test_a_torch_loader_reads_a_view(tmp_path: Path, format: Format) -> None:
    """In a process of its own: the workers are forked, and what other tests have started here does not survive that."""
    fill(tmp_path, [block(f"v{n}", 9) for n in range(8)], format, per_shard=3)
    store = open_store(tmp_path, "c3d")
    pairs = [(f"v{n}", s) for n in range(8) for s in (0, 2, 8)]
    view = store.view(pairs)
    assert len(view) == 24
    assert np.array_equal(view[5], store.rows(pairs)[5])
    with pytest.raises(IndexError):
        view[24]
    loading = subprocess.run([sys.executable, "-W", "error", "-c", LOADER, tmp_path], capture_output=True, text=True)
    assert loading.returncode == 0, loading.stderr


# --- stores -----------------------------------------------------------------------------------------------------------


def test_stores_are_found_by_a_prefix(tmp_path: Path) -> None:
    other = Spec("c3d", "fc7", DIM, "segment")
    assert list_stores(tmp_path) == []
    with pytest.raises(InputError, match="none yet"):
        open_store(tmp_path, "c3d")
    fill(tmp_path, [block("a")])
    fill(tmp_path, [block("a", spec=other)], spec=other)
    assert list_stores(tmp_path) == sorted([SPEC.name, other.name])
    assert open_store(tmp_path, "c3d-fc7").spec == other
    with pytest.raises(InputError, match="ambiguous"):
        open_store(tmp_path, "c3d")
    with pytest.raises(InputError, match=f"did you mean '{SPEC.name}'"):
        open_store(tmp_path, SPEC.name[:-1] + "x")


def test_an_empty_folder_left_by_a_crash_is_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "features" / SPEC.name
    folder.mkdir(parents=True)
    (folder / ".part-x.tmp-host-1").write_text("half")
    assert list_stores(tmp_path) == []
    assert present(tmp_path, SPEC) == set()
    with pytest.raises(InputError, match="no store"):
        open_store(tmp_path, SPEC.name)
    with pytest.raises(InputError, match="holds no shard"):
        FeatureStore(folder)


@formats
def test_specs_do_not_mix(tmp_path: Path, format: Format) -> None:
    other = Spec("c3d", "fc6", DIM, "segment", weights="random-1")
    wrong = fill(tmp_path, [block("x", spec=other)], format, spec=other)
    folder = fill(tmp_path, [block("a")], format)
    store = open_store(tmp_path, SPEC.name)
    (stray,) = parts.list_parts(wrong)
    stray = stray.rename(folder / stray.name)  # older than the right one
    for refused in (store.refresh, lambda: open_store(tmp_path, SPEC.name), lambda: present(tmp_path, SPEC)):
        with pytest.raises(SpecMismatch, match=f"{stray.name} has spec {other.name}, the store is {SPEC.name}"):
            refused()
    assert same(store.read("a"), block("a")), "a refused refresh changes nothing"


# --- without reelmill -------------------------------------------------------------------------------------------------


def snippets() -> Iterator[str]:
    """Python blocks of `storage/README.md` under the heading `## Without reelmill`: h5py first, then pyarrow."""
    readme = (Path(__file__).parents[2] / "storage" / "README.md").read_text()
    section = re.split(r"^#{1,3} ", readme.split("\n## Without reelmill\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    yield from re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@formats
def test_the_readme_reads_a_store_without_reelmill(tmp_path: Path, format: Format) -> None:
    fill(tmp_path, [block("a"), block("ü", 70)], format)
    fill(tmp_path, [block("a", 7, seed=1), block("b", 2)], format)
    code = dict(zip(get_args(Format), snippets(), strict=True))[format]
    expected = {b.video_id: b.features for b in open_store(tmp_path, "c3d").blocks()}
    (tmp_path / "expected.pickle").write_bytes(pickle.dumps(expected))
    before = f"root, name = {str(tmp_path)!r}, {SPEC.name!r}\n"
    after = (
        "\nimport pickle, sys, numpy as np\n"
        f"expected = pickle.load(open({str(tmp_path / 'expected.pickle')!r}, 'rb'))\n"
        "assert not {'storage', 'torch'} & set(sys.modules)\n"
        "assert features.keys() == expected.keys()\n"
        "assert all(np.array_equal(features[v], expected[v], equal_nan=True) for v in expected)\n"
    )
    assert len(code.strip().splitlines()) <= 12
    subprocess.run([sys.executable, "-c", before + code + after], check=True, timeout=60, cwd=tmp_path)
