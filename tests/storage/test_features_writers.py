"""Feature stores under many writers, kill -9, and a full disk."""

import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reelmill.storage import Block, FeatureWriter, Spec, open_store, parts
from reelmill.storage.errors import InputError
from reelmill.storage.features import Format, present, sweep
from reelmill.storage.formats import read_shard
from tests.stores import DIM, SPEC, block, fill, forks, formats, same

# --- many writers, one truth ------------------------------------------------------------------------------------------


@formats
def test_the_newest_block_counts(tmp_path: Path, format: Format) -> None:
    with FeatureWriter(tmp_path, SPEC, format) as writer:
        writer.add(block("a"))
        writer.add(block("a", seed=1))  # in the same shard
        writer.add(block("b"))
        first = writer.seal()
    store = open_store(tmp_path, "c3d")
    assert same(store.read("a"), block("a", seed=1))
    old = store.locate([("a", 4), ("b", 2)])
    fill(tmp_path, [block("a", 3, seed=2), block("0")], format)
    assert same(store.read("a"), block("a", seed=1)), "an open store does not change by itself"
    store.refresh()
    assert same(store.read("a"), block("a", 3, seed=2))
    assert store.keys() == ["0", "a", "b"]
    assert np.array_equal(store.take(old), [block("a", seed=1).features[4], block("b").features[2]]), "row numbers stay"
    assert np.array_equal(store.rows([("a", 0)])[0], block("a", 3, seed=2).features[0])
    late = store.locate([("a", 0), ("0", 2)])
    assert first is not None
    first.unlink()
    store.refresh()
    assert np.array_equal(store.take(late), [block("a", 3, seed=2).features[0], block("0").features[2]]), "still"
    assert store.keys() == ["0", "a"]
    assert same(open_store(tmp_path, "c3d").read("a"), block("a", 3, seed=2))


@forks
def test_two_writers_of_one_video_both_succeed(tmp_path: Path) -> None:
    children = []
    for seed in (1, 2):
        if (child := os.fork()) == 0:
            try:
                for round in range(10):
                    fill(tmp_path, [block("a", seed=seed), block(f"{seed}-{round}")])
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    store = open_store(tmp_path, "c3d")
    assert len(store) == 21
    assert any(same(store.read("a"), block("a", seed=seed)) for seed in (1, 2))
    assert len(store.shards) == 20
    newest = store.shards[-1]
    assert same(store.read("a"), newest.block(newest.video_ids.index("a")))


def test_the_writer_keeps_its_own_copy_and_bounds_its_memory(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path, SPEC, shard_bytes=3 * 5 * DIM * 4)
    given = block("a")
    writer.add(given)
    given.features[:] = 7
    assert not writer.folder.exists()
    writer.add(block("b"))
    writer.add(block("c"))
    (shard,) = parts.list_parts(writer.folder)
    assert same(read_shard(shard).block(0), block("a"))
    assert writer.seal() is None
    writer.add(block("d"))
    fill(tmp_path, [block("e")])
    sealed = writer.seal()
    assert sealed is not None
    assert read_shard(sealed).video_ids == ["d"]
    with pytest.raises(InputError, match="did you mean 'parquet'"):
        FeatureWriter(tmp_path, SPEC, "parket")  # type: ignore[arg-type]


def test_an_interrupted_run_keeps_finished_videos(tmp_path: Path) -> None:
    def run() -> None:
        with FeatureWriter(tmp_path, SPEC) as writer:
            writer.add(block("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert present(tmp_path, SPEC) == {"a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": ""}, "video id"),
        ({"video_id": "a\0b"}, "video id"),
        ({"video_id": "\ud800"}, "video id"),
        ({"features": np.zeros((5, 3), np.float32)}, r"the spec says \(rows, 24\)"),
        ({"features": np.zeros(5, np.float32)}, "the spec says"),
        ({"mask": np.ones(4)}, r"mask is \(4,\)"),
        ({"mask": np.full(5, 3)}, "mask holds"),
        ({"mask": np.ones(5)}, "valid row holds NaN"),
        ({"mask": np.array([0, 0, 1, 1, 1])}, "must be NaN"),
        ({"segment_index": np.array([0, 1, 1, 2, 3])}, "must ascend"),
        ({"segment_index": np.arange(-1, 4)}, "must ascend from 0"),
        ({"stop_ms": np.full(5, -1)}, "stops before"),
        ({"provenance": {"when": object()}}, "plain JSON"),
        ({"provenance": {"rate": float("nan")}}, "plain JSON"),
    ],
)
def test_blocks_that_break_a_rule_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with FeatureWriter(tmp_path, SPEC) as writer:
        with pytest.raises(InputError, match=message):
            writer.add(Block(**{**vars(block("a")), **change}))  # type: ignore[arg-type]
        writer.add(block("good"))
    assert present(tmp_path, SPEC) == {"good"}


def test_half_precision_does_not_overflow_silently(tmp_path: Path) -> None:
    spec = Spec("c3d", "fc6", DIM, "segment", dtype="float16")
    large = block("a", 2)
    large.features[0, 0] = 70_000
    with pytest.raises(InputError, match="infinity as float16"):
        FeatureWriter(tmp_path, spec).add(large)


def test_specs() -> None:
    assert Spec.from_json(SPEC.to_json()) == SPEC, "a tuple comes back as a list"
    assert hash(Spec.from_json(SPEC.to_json())) == hash(SPEC)
    assert Spec("c3d", "fc6", DIM, "segment", code_version=2) != SPEC
    assert re.fullmatch(r"c3d-fc6-[0-9a-f]{8}", SPEC.name)
    for bad in ({"extractor": "../c3d"}, {"layer": "fc-6"}, {"dim": 0}):
        with pytest.raises(InputError):
            Spec(**{"extractor": "c3d", "layer": "fc6", "dim": 4, "rows": "segment", **bad})  # type: ignore[arg-type]


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def write_for_ever(root: Path, format: Format, run: int, told: int) -> None:
    """Write shards of one to three videos; after each one is sealed, tell its ids."""
    rng = random.Random(run)
    writer = FeatureWriter(root, SPEC, format)
    number = 0
    while True:
        ids = []
        for _ in range(rng.randint(1, 3)):
            ids.append(f"{run}-{number}")
            writer.add(block(ids[-1], 60))
            number += 1
        writer.seal()
        os.write(told, "".join(f"{video}\n" for video in ids).encode())


@forks
@formats
def test_kill_9_loses_and_halves_nothing(tmp_path: Path, format: Format) -> None:
    rng = random.Random(0)
    told: list[str] = []
    left_behind = 0
    for run in range(20):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(tmp_path, format, run, writing)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(rng.uniform(0.02, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading) as lines:
            told += lines.read().split()
        left_behind += len(list((tmp_path / "features").rglob(".part-*")))
        FeatureWriter(tmp_path, SPEC, format)  # the next run
        assert list((tmp_path / "features").rglob(".part-*")) == []
    store = open_store(tmp_path, "c3d")
    assert len(told) > 20
    assert left_behind > 0, "no kill met a writer at work"
    assert set(told) <= set(store.keys())
    assert all(same(found, block(found.video_id, 60)) for found in store.blocks())
    assert store.verify() == []


# --- a full disk ------------------------------------------------------------------------------------------------------


@forks
@formats
@pytest.mark.parametrize("limit", [700, 30_000, 99_000])
def test_a_full_disk_harms_nothing(tmp_path: Path, format: Format, limit: int) -> None:
    fill(tmp_path, [block("before")], format)
    noise = np.random.default_rng(0).random((1200, DIM), np.float32)
    number = np.arange(1200)
    large = Block("large", noise, np.ones(1200), number, number, number + 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            writer = FeatureWriter(tmp_path, SPEC, format)
            writer.add(large)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                writer.seal()
            except OSError:
                left = list(writer.folder.glob(".*"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                if not left and writer.seal():  # there is space again
                    status = 0
            sys.stdout.flush()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    store = open_store(tmp_path, "c3d")
    assert store.keys() == ["before", "large"]
    assert store.verify() == []


def test_a_full_disk_does_not_crash_the_process_at_its_end(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from tests.stores import FeatureWriter, SPEC, block\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "try:\n"
        "    with FeatureWriter(sys.argv[1], SPEC) as writer: writer.add(block('a', 400))\n"
        "except OSError: sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 3


def test_what_the_dead_left_goes_also_where_nothing_is_left_to_write(tmp_path: Path) -> None:
    fill(tmp_path, [block("a")])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = []
    for name in (SPEC.name, "vgg19-fc7-00000000"):
        folder = tmp_path / "features" / name
        folder.mkdir(exist_ok=True)
        left.append(folder / f".part-0a1b2c3d.tmp-{socket.gethostname()}-{ended.pid}")
        left[-1].write_bytes(b"half a shard")
    assert sorted(sweep(tmp_path)) == sorted(left)
    assert not any(path.exists() for path in left)
    assert open_store(tmp_path, "c3d").keys() == ["a"]
