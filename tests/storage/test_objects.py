"""Tables and features on an object store: what holds on disk holds there."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reelmill.storage import Block, FeatureWriter, Spec, Tables, cache, formats, objects, open_store, parts
from reelmill.storage.compact import compact
from reelmill.storage.errors import Unreachable
from reelmill.storage.export import export
from reelmill.storage.features import list_stores, present, verify
from reelmill.storage.place import place
from tests import s3
from tests.storage.test_parts_tables import commit, label, seen

SPEC = Spec("c3d", "fc6", 8, "segment")


def block(video: str, value: float = 1.0, rows: int = 3) -> Block:
    """A block whose vectors are all `value`."""
    steps = np.arange(rows)
    features = np.full((rows, SPEC.dim), value, np.float32)
    return Block(
        video,
        features,
        np.ones(rows, np.uint8),
        steps.astype(np.int32),
        steps * 5000,
        steps * 5000 + 5000,
        {"by": "test"},
    )


def write(root: str, *blocks: Block, format: str = "hdf5") -> None:
    """One shard."""
    with FeatureWriter(root, SPEC, format) as writer:  # type: ignore[arg-type]
        for one in blocks:
            writer.add(one)


def names(root: str) -> list[str]:
    """Everything below a root."""
    return list(parts.walk(place(root)))


def test_a_part_is_visible_when_it_is_complete(s3_root: str) -> None:
    folder = place(s3_root) / "a" / "b"
    part = parts.new_part(folder, ".txt")
    with part as path:
        path.write_text("half")
        assert names(s3_root) == []
    assert parts.list_parts(folder) == [part.committed]
    assert parts.read_file(part.committed) == b"half"
    assert parts.newest(folder) == parts.sequence(part.committed)

    def fail() -> None:
        with parts.new_part(folder, ".txt") as path:
            path.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert not any(path.is_file() for path in cache.workplace().iterdir())
    assert len(names(s3_root)) == 1


def test_files_are_replaced_moved_and_removed(s3_root: str) -> None:
    root = place(s3_root)
    assert (parts.size(root / "x"), parts.written_at(root / "x"), parts.is_folder(root)) == (None, None, False)
    parts.write_file(root / "x", b"old")
    with parts.replacing(root / "x") as path:
        path.write_bytes(b"newer")
        assert parts.read_file(root / "x") == b"old"
    assert (parts.read_file(root / "x"), parts.size(root / "x"), parts.is_folder(root)) == (b"newer", 5, True)
    assert parts.written_at(root / "x") == pytest.approx(
        parts.written_at(Path(__file__).parents[1] / "s3.py") or 0, abs=1e9
    )
    moved = parts.move(root / "x", root / "away" / "y")
    assert (names(s3_root), parts.folders(root), parts.read_file(moved)) == (["away/y"], ["away"], b"newer")
    with pytest.raises(FileNotFoundError):
        parts.move(root / "x", root / "z")
    with pytest.raises(FileNotFoundError):
        parts.read_file(root / "x")
    parts.remove(moved)
    parts.remove(moved)
    assert names(s3_root) == []


def test_a_newer_part_replaces_the_units_it_covers_and_compaction_keeps_that(s3_root: str) -> None:
    tables = Tables(s3_root)
    assert tables.read("labels").num_rows == 0
    tables.write("labels", [label("u", "a"), label("v", "a"), label("u", "b")])
    tables.write("labels", [label("w", "a")])
    tables.write("labels", [], covers=["b"])
    assert seen(tables) == {("a", "w")}
    assert tables.compact("labels") == (3, 1)
    assert seen(tables) == {("a", "w")}


@pytest.mark.parametrize("format", ["hdf5", "parquet"])
def test_stores_are_read_compacted_exported_and_verified(s3_root: str, tmp_path: Path, format: str) -> None:
    assert list_stores(s3_root) == []
    write(s3_root, block("a", 1), block("b", 1), format=format)
    write(s3_root, block("b", 2), block("c", 2), format=format)
    store = open_store(s3_root, "c3d")
    assert (store.keys(), present(s3_root, SPEC)) == (["a", "b", "c"], {"a", "b", "c"})
    assert store.rows([("b", 2), ("a", 0)])[:, 0].tolist() == [2, 1]
    assert (store.read("c").provenance, store.verify()) == ({"by": "test"}, [])
    assert compact(s3_root, SPEC.name).dropped == 1
    assert len(parts.list_parts(store.folder)) == 1
    assert open_store(s3_root, "c3d").read("b").features[0, 0] == 2
    assert export(s3_root, SPEC.name, tmp_path / "disk", "parquet") == 3
    assert open_store(tmp_path / "disk", "c3d").read("b").features[0, 0] == 2


def test_two_writers_of_one_block_both_succeed_and_the_newer_counts(s3_root: str) -> None:
    together = threading.Barrier(2)

    def writer(value: float) -> None:
        with FeatureWriter(s3_root, SPEC) as one:
            one.add(block("a", value))
            together.wait()

    threads = [threading.Thread(target=writer, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store(s3_root, "c3d")
    newest = store.shards[-1]
    assert (len(store.shards), len(store)) == (2, 1)
    assert store.read("a").features[0, 0] == newest.block(0).features[0, 0]
    compact(s3_root, SPEC.name)
    assert open_store(s3_root, "c3d").read("a").features[0, 0] == newest.block(0).features[0, 0]


def test_compaction_under_a_readers_hands(s3_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(s3_root, block("a", 1))
    write(s3_root, block("b", 2))
    warm = open_store(s3_root, "c3d")
    formats._open.cache_clear()  # each as if it were in a process of its own
    cold = open_store(s3_root, "c3d")
    formats._open.cache_clear()
    assert warm.read("a").features[0, 0] == 1
    compact(s3_root, SPEC.name)
    assert warm.read("a").features[0, 0] == 1, "its map is still there"
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "other machine"))
    assert cold.read("b").features[0, 0] == 2, "lists again"
    assert len(cold.shards) == 1


def test_readers_of_a_table_never_miss_a_row_while_it_is_compacted(s3_root: str) -> None:
    tables, over = Tables(s3_root), threading.Event()
    wrong: list[set[str]] = []
    tables.write("labels", [label("u", f"first{n}") for n in range(3)])

    def read() -> None:
        while not over.is_set():
            if missing := {f"first{n}" for n in range(3)} - Tables(s3_root).units("labels"):
                wrong.append(missing)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(8):
            tables.write("labels", [label("u", f"v{n}")])
            tables.compact("labels")
    finally:
        over.set()
        reader.join()
    assert not wrong
    assert len(tables.units("labels")) == 11


def test_a_listing_of_several_pages_is_of_one_moment(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 lists on its second page may be of after a compaction, on its first of before."""
    folder = place(s3_root) / "x"
    old = [commit(folder, str(n)) for n in range(4)]
    merged = folder / f"part-{parts.sequence(old[-1]):016d}-00000000.txt"  # sorts before the last that it stands for
    listed, calls = objects.listed, iter(range(10))

    def torn(where: object) -> dict[str, int]:
        before = listed(folder)  # type: ignore[arg-type]
        if next(calls):
            return before
        parts.write_file(merged, b"0123")
        for path in old:
            parts.remove(path)
        return dict(list(before.items())[:3])

    monkeypatch.setattr(objects, "listed", torn)
    monkeypatch.setattr(objects, "PAGE", 3)
    assert parts.list_parts(folder) == [merged]


def test_pages_are_put_together(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    written = [commit(place(s3_root) / "x", str(n)) for n in range(8)]
    assert parts.list_parts(place(s3_root) / "x") == written


KILLED = """
import sys
from pathlib import Path
from reelmill.storage import parts
from reelmill.storage.place import place
part = parts.new_part(place(sys.argv[1]) / "x", ".bin")
with part as path:
    path.write_bytes(bytes(8 << 20))
print("stored")
"""


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_nothing(s3_root: str, s3_endpoint: str) -> None:
    with s3.Gate(s3_endpoint) as gate:
        gate.most = 2 << 20
        environment = {**os.environ, "AWS_ENDPOINT_URL": gate.url}
        child = subprocess.Popen([sys.executable, "-c", KILLED, s3_root], env=environment, stdout=subprocess.PIPE)
        try:
            assert gate.stalled.wait(120)
        finally:
            child.send_signal(signal.SIGKILL)
        assert child.communicate()[0] == b""
        assert any(line.startswith("PUT") for line in gate.seen)
    assert names(s3_root) == []
    left = Path(os.environ["REELMILL_CACHE"]) / "work"
    assert any(str(child.pid) in path.name for path in left.iterdir())
    commit(place(s3_root) / "x")
    assert len(names(s3_root)) == 1
    assert not any(str(child.pid) in path.name for path in left.iterdir()), "swept"


def test_a_store_that_is_busy_for_a_moment_is_asked_again(
    s3_root: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.Gate(s3_endpoint) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.url)
        gate.refusals = 2
        Tables(s3_root).write("labels", [label("u", "a")])
        gate.refusals = 2
        assert seen(Tables(s3_root)) == {("a", "u")}
        assert gate.refusals == 0


def test_what_cannot_be_reached_is_told_in_one_line(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(root: str) -> str:
        told = []
        for attempt in (
            lambda: Tables(root).read("labels"),
            lambda: Tables(root).write("labels", [label("u", "a")]),
            lambda: list_stores(root),
            lambda: write(root, block("a")),
            lambda: parts.size(place(root) / "x"),
        ):
            with pytest.raises(Unreachable) as caught:
                attempt()
            told.append(str(caught.value))
            assert os.environ.get("AWS_SECRET_ACCESS_KEY", "secret") not in told[-1]
            assert "\n" not in told[-1]
        return told[0]

    assert "bucket 'no-such-bucket' does not exist; create it" in refusal("s3://no-such-bucket/root")
    with without_permission(os.environ["AWS_ENDPOINT_URL"]):
        assert "no permission" in refusal(s3_root)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "check AWS_ENDPOINT_URL" in refusal(s3_root)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "set AWS_ACCESS_KEY_ID" in refusal(s3_root)


@contextlib.contextmanager
def without_permission(endpoint: str) -> Iterator[None]:
    """Have the server ask who one is, and know nobody."""

    def after(count: str) -> None:
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", count.encode(), plain)).close()

    after("0")
    try:
        yield
    finally:
        after("inf")


def test_verify_looks_at_the_store_and_not_at_a_copy(s3_root: str) -> None:
    write(s3_root, block("a"), block("b"))
    store = open_store(s3_root, "c3d")
    assert store.read("a").features[0, 0] == 1
    path = store.shards[0].path
    content = bytearray(parts.read_file(path))
    at = content.index(np.ones(SPEC.dim, np.float32).tobytes())
    content[at] ^= 1
    parts.write_file(path, bytes(content))
    (wrong,) = verify(s3_root, SPEC.name)
    assert f"{path} is not a complete feature shard" in str(wrong)


def test_opening_a_store_fetches_its_ends_only(s3_root: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(s3_root, *(block(f"v{n}", n, rows=500) for n in range(100)))
    monkeypatch.setenv("REELMILL_CACHE", os.environ["REELMILL_CACHE"] + "-other-machine")
    fetched = []
    get = objects.get
    monkeypatch.setattr(objects, "get", lambda path, file: (fetched.append(path), get(path, file)))
    with s3.Gate(s3_endpoint) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.url)
        store = open_store(s3_root, "c3d")
        assert (len(store), present(s3_root, SPEC)) == (100, {f"v{n}" for n in range(100)})
        assert [len(store.locate([("v7", 0), ("v9", 499)])), *map(sum, (s.mask.tolist() for s in store.shards))] == [
            2,
            50_000,
        ]
        assert fetched == []
        assert sum(" /" in line and ".h5" in line and line.startswith("GET") for line in gate.seen) < 16
        assert store.read("v7").features[0, 0] == 7
        assert store.rows([("v9", 499)])[0, 0] == 9
        assert len(fetched) == 1
