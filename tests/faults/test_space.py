"""A disk that is full, or may not be written to: a clear message, nothing harmed, and it goes on when that is over."""

import errno
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from reelmill.flows.cli.main import main
from reelmill.models import fit, runs
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import World, write
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.demo.corpus import write_source
from reelmill.pipeline.demo.planted import CorpusPlan
from reelmill.pipeline.download.fetch import Downloader
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.errors import OutOfSpace
from reelmill.pipeline.extract.videos import extract
from reelmill.storage import FeatureWriter, Tables
from reelmill.storage.features import present
from tests.faults.conftest import Disk, Unbroken
from tests.faults.downloads import OPTIONS as QUICK
from tests.faults.downloads import Server
from tests.faults.work import OPTIONS, assert_equal_roots, blocks_of, differing, plant, run
from tests.media import make_video
from tests.stores import SPEC, block, fill

KB = 1024
train = partial(fit.train, pictures=False, save_every_s=0)


def full() -> "pytest.RaisesExc[OSError]":
    return pytest.raises(OSError, match="No space left on device")


def halves(root: Path) -> list[Path]:
    return list(root.rglob(".part-*"))


@pytest.mark.parametrize("left", [0, 8 * KB, 24 * KB, 60 * KB])
def test_an_extraction_on_a_full_disk_goes_on_when_there_is_room(disk: Disk, unbroken: Unbroken, left: int) -> None:
    """Full at another part each time: pictures, a shard, outcomes."""
    root = disk.path / "root"
    plant(str(root), unbroken.videos)
    disk.leave(left)
    with full() as caught:
        run(str(root), unbroken.videos, unbroken.network, 0)
    assert caught.value.errno == errno.ENOSPC
    assert not halves(root)
    disk.free()
    assert differing(blocks_of(str(root)), blocks_of(unbroken.root)) == []
    run(str(root), unbroken.videos, unbroken.network, 1)
    assert_equal_roots(str(root), unbroken.root)


def test_a_table_on_a_full_disk(disk: Disk) -> None:
    tables = Tables(disk.path / "root")
    tables.write("labels", [{"user_id": "u", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
    rows = [
        {"user_id": f"{n * n}", "video_id": "b", "segment_index": n, "covered_ms": n * 7919 % 5000}
        for n in range(50_000)
    ]
    disk.leave(40 * KB)
    with full():
        tables.write("labels", rows)
    assert not halves(disk.path)
    assert tables.units("labels") == {"a"}
    disk.free()
    assert tables.write("labels", rows) == 50_000
    assert tables.units("labels") == {"a", "b"}


def test_a_download_on_a_full_disk_goes_on_when_there_is_room(disk: Disk, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    content = make_video(files / "v.mp4", 25).read_bytes() + (300_000).to_bytes(4, "big") + b"free" + bytes(299_992)
    (files / "v.mp4").write_bytes(content)
    root = str(disk.path / "root")
    with Server(files, pause_s=0) as server:
        Tables(root).write("videos", [{"video_id": "v", "url": server.address("v.mp4")}])
        disk.leave(100 * KB)
        with Downloader(root, QUICK.__class__(**{**vars(QUICK), "attempts": 2})) as downloader:
            with pytest.raises(OutOfSpace) as caught:
                downloader.fetch("v", server.address("v.mp4"))
            assert not caught.value.permanent
        disk.leave(0)
        with full():  # not even the outcome can be written
            fetch_media(root, missing_media(root), QUICK.__class__(**{**vars(QUICK), "attempts": 1}), Limits())
        disk.free()
        (outcome,) = fetch_media(root, missing_media(root), QUICK, Limits())
    assert outcome.status == "done", outcome.message
    (media,) = Tables(root).read("media").to_pylist()
    assert (Path(root) / media["uri"]).read_bytes() == content


def test_a_fit_on_a_full_disk_goes_on_with_the_same_numbers(disk: Disk, tmp_path: Path) -> None:
    world = World(users=40, old_videos=12, new_videos=6, hidden=0.0)
    settings = TransGRecSettings(batch=250, epochs=4, dim=16)
    for root in (disk.path, tmp_path / "free"):
        store = write(root, world)["features"]

    def fill_up(epoch: int, _: dict[str, float]) -> None:
        if epoch == 2:
            disk.leave(0)

    with full():
        train(disk.path, store, settings, on_epoch=fill_up)
    assert not halves(disk.path)
    disk.free()
    seen: list[int] = []
    resumed = train(disk.path, store, settings, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == [3, 4], "the last checkpoint that was written whole"
    unbroken = train(tmp_path / "free", store, settings)
    first, second = (runs.load(result.folder).model.state_dict() for result in (resumed, unbroken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Run the command in this process; gives its exit status and what it told people."""
    monkeypatch.setattr(sys, "argv", ["reelmill", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), " ".join(capsys.readouterr().err.split())


def test_the_command_says_that_the_disk_is_full(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "likes.csv"
    write_source(CorpusPlan(videos=12, new_videos=4, users=400), source)
    label = ("label", source, "--format", "phd2", "--root", disk.path / "root")
    for left in (0, 16 * KB):
        disk.leave(left)
        status, said = command(monkeypatch, capsys, *label)
        assert status == 1
        assert "error: " in said
        assert "No space left on device" in said
        assert str(disk.path) in said
        assert "Traceback" not in said
        assert not halves(disk.path)
    disk.free()
    assert command(monkeypatch, capsys, *label)[0] == 0
    assert Tables(disk.path / "root").read("labels").num_rows > 0


def test_a_read_only_root_is_read_and_says_so_when_it_is_written(
    disk: Disk, unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = disk.path / "root"
    plant(str(root), unbroken.videos)
    run(str(root), unbroken.videos[:3], unbroken.network, 0)
    fill(root, [block("a"), block("b")], per_shard=1)
    dead = root / "features" / SPEC.name / ".part-aa.tmp-elsewhere-1"
    dead.touch()
    disk.remount(read_only=True)
    refused = partial(pytest.raises, OSError, match="Read-only file system")
    with refused():
        Tables(root).write("labels", [{"user_id": "u", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
    with refused(), FeatureWriter(root, SPEC) as writer:
        writer.add(block("c"))
    with refused():
        extract(str(root), unbroken.videos, [unbroken.network], OPTIONS)
    assert extract(str(root), unbroken.videos[:3], [unbroken.network], OPTIONS).videos == 0, "nothing to do, no harm"
    assert present(root, SPEC) == {"a", "b"}
    assert command(monkeypatch, capsys, "status", "--root", root)[0] == 0
    status, said = command(monkeypatch, capsys, "report", "--root", root)
    assert status == 1
    assert f"error: Read-only file system: {root}" in said
    disk.remount(read_only=False)
    run(str(root), unbroken.videos, unbroken.network, 0)
    assert (
        differing({k: b for k, b in blocks_of(str(root)).items() if k[0] != SPEC.name}, blocks_of(unbroken.root)) == []
    )
