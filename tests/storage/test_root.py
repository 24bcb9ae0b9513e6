"""A root: one address, the same in every process, and what it owns."""

import pickle
from pathlib import Path

import pytest

from reelmill.storage import Root, Tables, open_store, parts, store
from reelmill.storage.compact import compact
from reelmill.storage.errors import InputError
from reelmill.storage.place import place
from tests.stores import SPEC, block, fill


def test_a_root_has_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = Root("data")
    assert (root.address, root.path, root.name) == (str(tmp_path / "data"), tmp_path / "data", "data")
    assert (str(root), root.remote) == (root.address, False)
    same = [Root(Path("data")), Root("~/data"), Root(f"file://{tmp_path}/data"), Root(root), Root("x/../data")]
    assert {root, *same} == {root}
    assert root not in (Root("other"), root.address)
    assert not list(tmp_path.iterdir()), "a root is made by the first that writes to it"
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(root)) == root
    assert Root(".").name == ""
    assert [Root(url).name for url in ("s3://bucket", "s3://bucket/", "s3://bucket/a/b")] == ["bucket", "bucket", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://somewhere/x", "cannot be written to"),
        ("s3://key:secret@bucket/x", "no key or password"),
        ("s3://", "names no bucket"),
        ("nowhere://bucket/x", "no driver"),
        (Path("s3://bucket/x"), "was a URL before it was a Path"),
    ],
)
def test_a_bad_address_is_refused(given: str | Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Root(given)


def test_what_a_root_owns(tmp_path: Path) -> None:
    root = Root(tmp_path)
    fill(tmp_path, [block("a"), block("b")])
    root.tables.write("videos", [{"video_id": "a"}])
    assert Tables(root).read("videos", ["video_id"]) == Tables(str(tmp_path)).read("videos", ["video_id"])
    assert root.features.list() == [SPEC.name]
    assert root.features.open("c3d").keys() == open_store(root, SPEC.name).keys() == ["a", "b"]
    assert root.features.of(SPEC).spec == SPEC
    assert not root.features.verify("c3d")
    assert [p.relative_to(tmp_path).as_posix() for p in (root.media, root.runs, root.encoders)] == [  # type: ignore[union-attr]
        "media", "runs", "encoders",
    ]  # fmt: skip
    assert root.file("media/a.mp4") == tmp_path / "media" / "a.mp4"
    assert root.file("/elsewhere/a.mp4") == Path("/elsewhere/a.mp4")


def test_a_root_on_an_object_store(s3_root: str) -> None:
    root = Root(f"{s3_root}/")
    assert root == Root(s3_root) == Root(place(s3_root)) == pickle.loads(pickle.dumps(root))
    assert (root.address, root.name, root.remote) == (s3_root, s3_root.rpartition("/")[2], True)
    assert str(root.media) == f"{s3_root}/media"
    root.tables.write("videos", [{"video_id": "a"}])
    assert Root(s3_root).tables.units("videos") == {"a"}
    assert parts.files(root.path / "tables" / "videos")


def test_a_snapshot_reads_each_index_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked before each block of a run, it costs what was added, not what is there: no index is opened twice, also
    with nothing kept by the process."""
    opened: list[Path] = []

    def counted(path: Path) -> store.Shard:
        opened.append(path)
        return store.read_shard(path)

    monkeypatch.setattr(store, "open_shard", counted)
    root, made = Root(tmp_path), {f"v{n}": f"hash {n}" for n in range(40)}
    snapshot = root.snapshot()
    assert snapshot.present(SPEC, made, "seed") == set()
    for number, video in enumerate(made, 1):
        fill(tmp_path, [block(video)])
        assert snapshot.store(SPEC).keys() != sorted(list(made)[:number])
        snapshot.refresh([SPEC])
        assert snapshot.store(SPEC).keys() == sorted(list(made)[:number])
    assert len(opened) == len(set(opened)) == len(made)
    compact(root, SPEC.name)
    before = len(opened)
    snapshot.refresh([SPEC])
    assert len(opened) == before + 1, "the merged shard alone"
    assert snapshot.store(SPEC).keys() == sorted(made)
    assert snapshot.store(SPEC).read("v7").features.shape == (5, SPEC.dim)


def test_a_snapshot_knows_what_a_block_was_made_from(tmp_path: Path) -> None:
    one, other = block("a"), block("b", seed=1)
    fill(tmp_path, [one, other])
    snapshot = Root(tmp_path).snapshot()
    assert snapshot.present(SPEC, {"a": 0, "b": 0, "c": 0}, "seed") == {"a"}  # type: ignore[dict-item]
    assert snapshot.present(SPEC, {"a": "x", "c": "x"}, "media_sha256") == {"a"}, "a block that does not say"
    fill(tmp_path, [block("b", seed=0)])
    snapshot.refresh([SPEC])
    assert snapshot.present(SPEC, {"a": 0, "b": 0}, "seed") == {"a", "b"}  # type: ignore[dict-item]
