"""Mistakes are found before anything is downloaded, read or started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reelmill.extractors.weights import files
from reelmill.flows.jobs import check as checks
from reelmill.flows.jobs import known_specs, steps
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.fits import choose
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.jobs.run import run
from reelmill.flows.jobs.train import train
from reelmill.flows.settings.load import load
from reelmill.pipeline import dataset
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.media import make_video
from tests.roots import settings, with_videos
from tests.servers import World, misbehaving


@pytest.fixture
def likes(tmp_path: Path) -> str:
    """A setting of a source with one row, whose video nobody may fetch."""
    (tmp_path / "likes.csv").write_text("u,v,f,t,l\nann,clip,0,5,http://127.0.0.1:9/clip.mp4\n")
    mapping = "{user_id: u, video_id: v, start_s: f, stop_s: t, url: l}"
    return f"source={{path: {tmp_path / 'likes.csv'}, mapping: {mapping}}}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("source.path=/none.csv", r"source /none\.csv does not exist; check source\.path"),
        ("download.cookies_file=/none.txt", r"cookies file /none\.txt does not exist"),
        ("report={folder}", r"report .* is a folder; give the name of a file in it"),
        ("report={folder}/likes.csv/page.html", r"likes\.csv is a file, not a folder"),
        ("root={folder}/likes.csv", r"likes\.csv is not a folder; give another --root"),
        ("train.models={transgrec: {options: {epochs: many}}}", "epochs"),
        ("extract.extractors={c3d: {weights: /none.pth}}", r"weights /none\.pth of c3d: no such file"),
        ("engine.workers=2", r"engine\.workers is of Ray's"),
    ],
)
def test_run_refuses_before_it_writes_anything(tmp_path: Path, likes: str, override: str, message: str) -> None:
    chosen = load(None, [f"root={tmp_path / 'root'}", likes, override.replace("{folder}", str(tmp_path))])
    with pytest.raises(InputError, match=message):
        run(chosen)
    assert not (tmp_path / "root").exists()


def test_weights_are_there_and_right_before_the_first_download(
    tmp_path: Path, likes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "cache"))

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(files, "fetch", unreachable)
    chosen = load(None, [f"root={tmp_path / 'root'}", likes])
    for job in (run, extract):
        with pytest.raises(InputError, match=r"cannot be downloaded: no network. Put the file from https://"):
            job(chosen)  # type: ignore[operator]
    file = tmp_path / "weights" / "c3d_sports1m_pretrain_20201016-dcc47ddc.pth"
    file.parent.mkdir()
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"its sha256 is [0-9a-f]{64}, that of c3d-sports1m-openmmlab should be dcc47"):
        run(chosen)
    assert not (tmp_path / "root").exists()
    known_specs.remember(chosen, [[]])  # a run with this very file: it is not read again
    checks.check_weights(chosen)


def test_nothing_is_asked_of_a_host_while_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "cache"))
    world = World(media=b"a video")
    with misbehaving(world) as address:
        (tmp_path / "likes.csv").write_text(f"u,v,f,t,l\nann,clip,0,5,{address}/good/clip.mp4\n")
        source = "{user_id: u, video_id: v, start_s: f, stop_s: t, url: l}"
        chosen = load(None, [
            f"root={tmp_path / 'root'}", f"source={{path: {tmp_path / 'likes.csv'}, mapping: {source}}}",
            "download.allow_private_addresses=true", f"extract.extractors={{c3d: {{weights: {tmp_path / 'no.pth'}}}}}",
        ])  # fmt: skip
        with pytest.raises(InputError, match=r"no\.pth of c3d: no such file"):
            run(chosen)
    assert world.requests == []
    assert not (tmp_path / "root").exists()


def test_only_the_newest_specs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path))
    monkeypatch.setattr(known_specs, "KEPT", 3)
    for theta in range(5):
        chosen = load(None, [f"root={tmp_path}", f"segments.segment_ms={1000 + theta}"])
        known_specs.remember(chosen, [[]])
        assert known_specs.recall(chosen) == [[]]
    assert len(list((tmp_path / "specs").iterdir())) == 3


def test_a_home_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "s.yaml").write_text("serve: {schedules: {}}\n")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "file")}
    environment.pop("PREFECT_HOME", None)
    told = subprocess.run(
        [sys.executable, "-c", "from reelmill.flows.cli.main import main; main()", "serve", "--root", str(tmp_path),
         str(tmp_path / "s.yaml")], capture_output=True, text=True, env=environment, timeout=200, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.startswith("error: Prefect has no folder: "), told.stderr
    assert told.stderr.count("\n") == 1


def test_a_data_set_is_not_read_for_options_that_no_recommender_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(dataset, "read", never)
    chosen = choose(load(None, [f"root={tmp_path / 'root'}"]), ["multimodal"], ["epoch=3"])
    with pytest.raises(InputError, match=r"'epoch'.*did you mean 'epochs'"):
        train(chosen, data=tmp_path)
    several = choose(load(None, [f"root={tmp_path / 'root'}"]), ["jifr", "transgrec"], ["epochs=1"])
    with pytest.raises(InputError, match="the world of transgrec has no such knob"):
        train(several, world="telling=1,items=20,users=30")  # jifr's has them
    assert not (tmp_path / "root").exists()


def test_a_disk_that_is_too_small_is_told_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = with_videos(tmp_path, (50,))
    usage = checks.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    chosen = settings(root)
    before = sorted(root.rglob("*"))
    with pytest.raises(InputError, match=r"extracting 1 videos needs about .* free at .*; make room"):
        extract(chosen)
    clip = make_video(tmp_path / "new.mp4", frames=50)
    Tables(root).write("videos", [{"video_id": "new", "url": str(clip)}])
    before = sorted({*before, *root.rglob("*")})
    with pytest.raises(InputError, match=r"downloading 1 videos needs about"):
        ingest(chosen)
    assert sorted(root.rglob("*")) == before
    assert [wanted.video_id for wanted in steps.download_plan(chosen)] == ["new"]
