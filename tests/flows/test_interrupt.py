"""Ctrl-C, SIGTERM and SIGHUP: what is finished is committed, one line is printed, no process is left, and the next run
goes on."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
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
STOPPED_EARLY = "stopped; what was not committed yet is done again: run the same command to go on"
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

COMMITTING = """
import errno, os, signal, sys
from reelmill.flows import interrupt
from reelmill.flows.cli.main import main
from reelmill.pipeline.extract import videos

moment, number, then = int(sys.argv.pop(1)), int(sys.argv.pop(1)), sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
commit, fsync, passed = videos._Store.commit, os.fsync, 0
interrupt.GRACE_S, interrupt.DEFER_S = (1.0, 0.2) if then.startswith("/") else (9.0, 4.0)

def counted(descriptor):
    global passed
    passed += 1
    if passed == moment + 1:
        os.kill(os.getpid(), number)
        if then.startswith("/"):
            open(then).read()  # a pipe, which somebody opens later
        elif then == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fsync(descriptor)

def marked(self):
    if self.outcomes:
        os.fsync = counted
    try:
        commit(self)
    finally:
        os.fsync = fsync

videos._Store.commit = marked
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
    return ended(SIGNALLED, stage, int(number), *arguments)


def ended(program: str, *arguments: str | Path | int) -> Ended:
    """Run a program around the command line to its end."""
    mark = uuid4().hex
    code = [sys.executable, "-c", program, *map(str, arguments), "--json"]
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


def test_a_second_signal_changes_nothing(settings_file: Path) -> None:
    """As an impatient person, or a service manager, sends it."""
    twice = SIGNALLED.replace("os.kill(os.getpid(), number)", "[os.kill(os.getpid(), n) for n in (number, number, 1)]")
    check_clean(ended(twice, "extract", int(signal.SIGTERM), "extract", settings_file), 143)


@BOTH
def test_a_signal_to_the_whole_process_group(settings_file: Path, number: int, status: int) -> None:
    """As a terminal's Ctrl-C, `timeout` and a container's stop send it: the decoding processes get it as well."""
    grouped = "import os; os.setsid()\n" + SIGNALLED.replace("os.kill(os.getpid(), number)", "os.killpg(0, number)")
    check_clean(ended(grouped, "extract", int(number), "extract", settings_file), status)


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


@pytest.mark.parametrize(
    ("moment", "number"), [(0, signal.SIGTERM), (1, signal.SIGHUP), (2, signal.SIGINT), (5, signal.SIGTERM)]
)
def test_a_commit_that_has_begun_is_completed(settings_file: Path, tmp_path: Path, moment: int, number: int) -> None:
    """Whatever file of it is being written: pictures, blocks or outcomes."""
    check_clean(ended(COMMITTING, moment, number, "", "extract", settings_file), 128 + number)
    (name,) = list_stores(tmp_path / "root")
    videos = [f"v{n}" for n in range(5)]
    assert open_store(tmp_path / "root", name).keys() == videos
    assert sorted(Outcomes(tmp_path / "root").latest("extract", name)) == videos
    assert Tables(tmp_path / "root").units("frames") == {*videos}


def test_a_long_commit_is_waited_for(settings_file: Path, tmp_path: Path) -> None:
    """Twice as long as a command may go on otherwise."""
    os.mkfifo(tmp_path / "pipe")
    release = threading.Timer(2.5, lambda: (tmp_path / "pipe").write_text(""))
    release.start()
    check_clean(ended(COMMITTING, 2, signal.SIGTERM, tmp_path / "pipe", "extract", settings_file), 143)
    release.join()
    (name,) = list_stores(tmp_path / "root")
    assert len(open_store(tmp_path / "root", name)) == 5


def test_what_a_failed_commit_lost_is_not_said_to_be_kept(settings_file: Path, tmp_path: Path) -> None:
    stopped = ended(COMMITTING, 0, signal.SIGTERM, "full", "extract", settings_file)
    assert stopped.status == 143
    assert "No space left on device" in stopped.out["error"]["message"]
    assert str(tmp_path / "root" / "tables") in stopped.out["error"]["message"]
    assert stopped.err.splitlines()[-1] == STOPPED_EARLY
    again = command("extract", settings_file)
    assert (again.status, again.out["done"]) == (0, 5), again.err


def test_a_closed_terminal_ends_a_command(settings_file: Path, tmp_path: Path) -> None:
    """The kernel sends SIGHUP, and nothing can be written to the terminal any more."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", SIGNALLED, "extract", "0", "extract", str(settings_file)])
    os.read(terminal, 1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129


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
