"""Ctrl-C and SIGTERM: what is finished is committed, one line is printed, no process is left, the next run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
import yaml

from reelmill.flows.jobs.fits import choose
from reelmill.flows.jobs.train import train
from reelmill.flows.settings.load import load
from reelmill.storage import Outcomes, Tables, open_store
from reelmill.storage.features import list_stores
from tests.roots import with_videos

BOTH = pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
STOPPED = "stopped; everything finished so far is kept, run the same command to go on"
SIGNALLED = """
import os, signal, sys
from reelmill.flows import progress
from reelmill.flows.cli.main import main

stage, number = sys.argv.pop(1), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def advance(self, name, *args, **kwargs):
    if name == stage:
        os.kill(os.getpid(), number)

progress.Reporter.advance = advance
main()
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: dict[str, Any]
    err: str
    left: list[int]
    """Processes that it started and that are still there."""


def command(*arguments: str | Path, stage: str = "", number: int = signal.SIGTERM) -> Ended:
    """Run a verb that gets a signal each time that something of this stage is finished."""
    mark = uuid4().hex
    code = [sys.executable, "-c", SIGNALLED, stage, str(int(number)), *map(str, arguments), "--json"]
    environment = {**os.environ, "REELMILL_TEST": mark, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(code, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.stdout, done.stderr
    return Ended(done.returncode, json.loads(done.stdout), done.stderr.strip(), left_behind(mark))


def left_behind(mark: str, within_s: float = 10) -> list[int]:
    """Processes with this mark in their environment that are still there after so many seconds."""
    deadline = time.monotonic() + within_s
    while True:
        left = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                if alive and mark.encode() in (folder / "environ").read_bytes():
                    left.append(int(folder.name))
            except OSError:
                continue
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def check_clean(ended: Ended, status: int) -> None:
    """One line, one object, no process left."""
    assert (ended.status, ended.err, ended.left) == (status, STOPPED, [])
    assert ended.out == {"error": {"class": "Interrupted", "message": STOPPED}}


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Settings of a root with five videos, of which the sound is extracted, one decoding process beside the other."""
    root = with_videos(tmp_path)
    chosen = {"root": str(root), "extract": {"extractors": {"logmel": {}, "topics": {"topics": 2}}, "workers": 2}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(chosen))
    return tmp_path / "settings.yaml"


@BOTH
def test_extract_commits_the_finished_videos(settings_file: Path, tmp_path: Path, number: int, status: int) -> None:
    """They are committed once a minute, and there is one block: it is the end that commits them."""
    ended = command("extract", settings_file, stage="extract", number=number)
    check_clean(ended, status)
    root = tmp_path / "root"
    (name,) = list_stores(root)
    kept = open_store(root, name).keys()
    assert 1 <= len(kept) < 5
    assert {key for key, row in Outcomes(root).latest("extract", name).items() if row["status"] == "done"} == {*kept}
    again = command("extract", settings_file)
    assert again.status == 0, again.err
    assert (again.out["done"], again.out["skipped"]) == (5 - len(kept), len(kept))
    rows = [row["key"] for row in Tables(root).read("outcomes").to_pylist() if row["spec"] == name]
    assert sorted(rows) == open_store(root, name).keys() == [f"v{n}" for n in range(5)]


def test_ingest_commits_the_finished_downloads(tmp_path: Path) -> None:
    made = with_videos(tmp_path, (50,) * 6).parent
    rows = [f"u,v{n},0,1,{made / f'v{n}.mp4'}" for n in range(6)]
    columns = ("user_id", "video_id", "start_s", "stop_s", "url")
    (tmp_path / "list.csv").write_text("\n".join([",".join(columns), *rows, ""]))
    chosen = {
        "root": "other",
        "source": {"path": "list.csv", "format": "mapped", "mapping": {name: name for name in columns}},
        "download": {"workers": 2},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(chosen))
    check_clean(command("ingest", tmp_path / "settings.yaml", stage="download"), 143)
    kept = Tables(tmp_path / "other").units("media")
    assert 1 <= len(kept) < 6
    again = command("ingest", tmp_path / "settings.yaml")
    assert again.status == 0, again.err
    assert again.out["download"] == {"done": 6 - len(kept), "skipped": len(kept), "failed": {}}


def test_a_fit_of_text_ends_and_is_begun_again(settings_file: Path, tmp_path: Path) -> None:
    texts = [{"video_id": f"v{n}", "title": f"music song band concert {n % 2 * 'guitar drums'}"} for n in range(5)]
    Tables(tmp_path / "root").write("videos", texts)
    check_clean(command("extract", settings_file, stage="fit topics"), 143)
    again = command("extract", settings_file)
    assert (again.status, again.out["skipped"]) == (0, 5), again.err
    assert (again.out["texts"]["topics"]["done"], again.out["texts"]["topics"]["fitted"]) == (5, True)


def test_a_fit_goes_on_after_its_last_epoch(tmp_path: Path) -> None:
    """With the numbers of one that was not interrupted: it is the state at the end of the epoch that is kept."""
    world = ("--world", "users=30,items=20", "-o", "epochs=4", "-o", "patience=0", "--root", tmp_path / "worlds")
    check_clean(command("train", "jifr", *world, stage="train jifr"), 143)
    (folder,) = (tmp_path / "worlds").glob("jifr-*/runs/jifr-*")
    assert (folder / "last.pt").exists()
    assert torch.load(folder / "last.pt", weights_only=True)["epoch"] == 1
    settings = choose(load(None, [f"root={tmp_path / 'worlds'}"]), ["jifr"], ["epochs=4", "patience=0"])
    again = train(settings, world="users=30,items=20")
    whole = train(settings.model_copy(update={"root": str(tmp_path / "others")}), world="users=30,items=20")
    assert again.fits["jifr"].metrics == whole.fits["jifr"].metrics
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 4
