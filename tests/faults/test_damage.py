"""Damaged shards, parts and folders: found and named by whoever reads them, mended by one more run."""

import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import pytest

from reelmill.models import fit
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import World, write
from reelmill.pipeline.extract.missing import missing
from reelmill.pipeline.extract.videos import extract
from reelmill.storage import Spec, Tables, open_store, parts
from reelmill.storage.errors import CorruptPart, SpecMismatch
from reelmill.storage.features import list_stores, present, verify
from tests.faults.conftest import Unbroken
from tests.faults.work import OPTIONS, assert_equal_roots, keep_house, plant, run
from tests.stores import SPEC, block, fill, forks

REGIONS = ("superblock", "spec", "features", "mask", "segment_index", "start_ms", "row_stop", "video_id", "provenance")


def copied(unbroken: Unbroken, root: Path) -> str:
    shutil.copytree(unbroken.root, root)
    return str(root)


def place_of(part: Path, region: str) -> int:
    """Offset of a byte of a region of an HDF5 shard."""
    if region == "superblock":
        return 0
    content = part.read_bytes()
    with h5py.File(part) as file:
        if region == "spec":
            return content.index(file.attrs["spec"].encode()) + 20
        if region in ("video_id", "provenance"):
            return content.index(file[region][0]) + 1
        return int(file[region].id.get_offset()) + 1


def flip(part: Path, place: int) -> None:
    content = bytearray(part.read_bytes())
    content[place] ^= 0x10
    part.write_bytes(content)


@pytest.mark.parametrize("region", REGIONS)
def test_a_flipped_byte_in_any_region_is_named_and_mended(tmp_path: Path, unbroken: Unbroken, region: str) -> None:
    root = copied(unbroken, tmp_path / "root")
    name = list_stores(root)[0]
    shard = open_store(root, name).shards[1]
    part = shard.path
    flip(part, place_of(part, region))
    (error,) = verify(root, name)
    assert part.name in str(error)
    assert "move it away, extract again" in str(error)
    part.rename(tmp_path / part.name)
    todo = missing(root, unbroken.videos, [unbroken.network], OPTIONS)
    assert [video.video_id for video, _ in todo] == sorted(shard.video_ids), "only what was in it"
    if region != "features":
        return  # one more run is the same for all of them
    run(root, unbroken.videos, unbroken.network, 0)
    assert_equal_roots(root, unbroken.root)


def test_training_refuses_a_flipped_vector(tmp_path: Path) -> None:
    """No reader checks every vector that it takes; a fit checks its stores once, before it begins."""
    store = write(tmp_path, World(users=40, old_videos=12, new_videos=6, hidden=0.0))["features"]
    part = open_store(tmp_path, store).shards[0].path
    flip(part, place_of(part, "features"))
    settings = TransGRecSettings(batch=250, epochs=1, dim=16)
    train = partial(fit.train, tmp_path, store, settings, pictures=False, logger="none")
    with pytest.raises(CorruptPart, match=part.name):
        train()
    flip(part, place_of(part, "features"))
    assert not train().skipped


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte gone": lambda content: content[:-1],
    "tail of zeros": lambda content: content[: len(content) * 2 // 3] + bytes(len(content) - len(content) * 2 // 3),
    "all zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_half_written_shard_put_in_place_is_named_and_mended(tmp_path: Path, unbroken: Unbroken, damage: str) -> None:
    """As a copy that was cut short, or a file system that lost its tail: our own writers leave none."""
    root = copied(unbroken, tmp_path / "root")
    name = list_stores(root)[0]
    part = open_store(root, name).shards[1].path
    part.write_bytes(DAMAGE[damage](part.read_bytes()))
    (error,) = verify(root, name)
    assert part.name in str(error)
    with pytest.raises(CorruptPart, match=part.name):
        keep_house(root)  # compaction copies no damage
    if damage != "tail of zeros":  # which may hit vectors only: that is for those who check
        with pytest.raises(CorruptPart, match=part.name):
            extract(root, unbroken.videos, [unbroken.network], OPTIONS)
    part.rename(tmp_path / part.name)
    run(root, unbroken.videos, unbroken.network, 0)
    assert_equal_roots(root, unbroken.root)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_half_written_table_part_is_named_and_mended(tmp_path: Path, unbroken: Unbroken, damage: str) -> None:
    root = copied(unbroken, tmp_path / "root")
    part = parts.list_parts(Path(root) / "tables" / "labels")[0]
    part.write_bytes(DAMAGE[damage](part.read_bytes()))
    for reads in (lambda: Tables(root).read("labels"), lambda: run(root, unbroken.videos, unbroken.network, 0)):
        with pytest.raises(CorruptPart, match=rf"{part.name} cannot be read.*move it away"):
            reads()
    part.unlink()
    run(root, unbroken.videos, unbroken.network, 0)
    assert_equal_roots(root, unbroken.root)


def test_a_part_of_another_spec_is_refused_until_it_is_moved(tmp_path: Path, unbroken: Unbroken) -> None:
    root = copied(unbroken, tmp_path / "root")
    name = list_stores(root)[0]
    folder = Path(root) / "features" / name
    other = fill(tmp_path, [block("a", spec=Spec("c3d", "fc6", 8, "segment"))], spec=Spec("c3d", "fc6", 8, "segment"))
    stranger = folder / parts.list_parts(other)[0].name
    shutil.copy(parts.list_parts(other)[0], stranger)
    for reads in (
        lambda: open_store(root, name),
        lambda: extract(root, unbroken.videos, [unbroken.network], OPTIONS),
        lambda: keep_house(root),
    ):
        with pytest.raises(SpecMismatch, match=rf"{stranger.name}.*move it away"):
            reads()
    stranger.unlink()
    keep_house(root)
    assert_equal_roots(root, unbroken.root)


def test_empty_folders_and_temporaries_are_nothing(tmp_path: Path, unbroken: Unbroken) -> None:
    """What a crash leaves before its first part is complete."""
    root = tmp_path / "root"
    names = list_stores(unbroken.root)
    for folder in (
        *(f"features/{name}" for name in names),
        "tables/labels",
        "tables/frames",
        "tables/outcomes",
        "runs",
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / ".part-00000000.tmp-elsewhere-1").write_bytes(b"half a part")
    assert list_stores(root) == []
    assert present(root, SPEC) == set()
    assert Tables(root).read("labels").num_rows == 0
    for left in root.rglob(".part-*"):
        os.utime(left, (0, 0))  # its writer, on another machine, is a day gone
    plant(str(root), unbroken.videos)
    keep_house(str(root))
    run(str(root), unbroken.videos, unbroken.network, 0)
    (root / "runs" / ".part-00000000.tmp-elsewhere-1").unlink()
    assert_equal_roots(str(root), unbroken.root)


@forks
def test_a_writer_that_was_killed_leaves_what_the_next_one_sweeps(tmp_path: Path) -> None:
    """The temporary of a dead process of this machine goes at once, that of a living one stays."""
    folder = fill(tmp_path, [block("a")])
    child = os.fork()
    if child == 0:
        with parts.new_part(folder, ".h5") as path:
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)
    (left,) = folder.glob(".part-*")
    assert parts.sweep(folder) == []
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert parts.sweep(folder) == [left]
    assert open_store(tmp_path, "c3d").keys() == ["a"]
