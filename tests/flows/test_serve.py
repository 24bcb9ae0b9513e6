"""A root worked on by a real Prefect server and its workers, as every night; asked afterwards through its API."""

import errno
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from reelmill.flows.jobs.executor import Executor
from reelmill.flows.serve import flow_runs, start
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage import open_store
from tests.prefect_server import Server, prefect_server, until
from tests.sounds import write_sound

pytestmark = pytest.mark.timeout(400)
PASSWORD = "pass" + "word-of-the-proxy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos, one of which is none, and a settings file with a secret."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "videos").mkdir()
    for number in range(3):
        write_sound(folder / "videos" / f"{number}.mkv", seconds=5 + number)
    (folder / "videos" / "page.mkv").write_text("<html>")
    settings = {
        "root": "nights",
        "source": {"path": "videos", "format": "folder"},
        "download": {"proxy": f"http://me:{PASSWORD}@127.0.0.1:9"},
        "extract": {
            "extractors": {"c3d": {"layers": ["conv5"], "weights": "random", "windows": 1}},
            "block": 2,
            "precision": "float32",
            "device": "cpu",
        },
        "train": {"models": {"transgrec": {"stores": "c3d-conv5"}}},
        "serve": {"schedules": {"run": "30 2 * * *"}, "timezone": "Asia/Tokyo", "tags": ["night"]},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def nightly(place: Path, server: Server) -> dict[str, Any]:
    """The night's run: registered for a pool, scheduled by the server, done by a worker; moved forward to now."""
    served = server.reelmill("serve", "serve", place / "settings.yaml", "--set", "serve.work_pool=mill", "--json")
    assert served.child.wait(timeout=200) == 0, served.output
    deployment = server.deployments()["reelmill-run"]
    asked = {"deployments": {"id": {"any_": [deployment["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
    (scheduled, *_) = until(lambda: server.ask("flow_runs/filter", **asked), "the night", 60)
    due = datetime.fromisoformat(scheduled["expected_start_time"]).astimezone(UTC)
    assert (due.hour, due.minute) == (17, 30)  # half past two in Tokyo
    now = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    server.ask(f"flow_runs/{scheduled['id']}/set_state", state=now)
    worker = server.worker("first", "mill")
    try:
        run = server.ended(scheduled["id"])
    finally:
        worker.end()
    assert run["state_type"] == "COMPLETED", worker.output[-3000:]
    return run


def test_the_night_is_done_by_a_server_and_its_worker(place: Path, nightly: dict[str, Any]) -> None:
    store = open_store(place / "nights", "c3d-conv5")
    assert sorted(store.keys()) == ["0.mkv", "1.mkv", "2.mkv"]
    assert not store.verify()
    assert (place / "nights" / "report.html").exists()
    assert (nightly["state_name"], nightly["state"]["message"]) == ("Partial", "1 × download: unsupported")
    assert nightly["name"].startswith("run nights, ")
    assert set(nightly["tags"]) >= {"reelmill", "night"}


def test_its_artifacts_tell_of_it(place: Path, server: Server, nightly: dict[str, Any]) -> None:
    found = server.artifacts(nightly["id"])
    assert set(found) == {"nights-progress-download", "nights-progress-extract", "nights-outcomes", "nights-report"}
    extracted = found["nights-progress-extract"]
    assert (extracted["type"], extracted["data"], extracted["description"]) == (
        "progress", 100.0, "extract: 3 of 3 videos",
    )  # fmt: skip
    assert found["nights-progress-download"]["description"] == "download: 4 of 4 videos"
    rows = yaml.safe_load(found["nights-outcomes"]["data"])
    store = open_store(place / "nights", "c3d-conv5").spec.name
    assert rows == [
        {"stage": "download", "store": "", "class": "done", "things": 3, "new": 0},
        {"stage": "download", "store": "", "class": "unsupported", "things": 1, "new": 1},
        {"stage": "extract", "store": store, "class": "done", "things": 3, "new": 0},
    ]
    assert (place / "nights" / "report.html").as_uri() in found["nights-report"]["data"]


def test_the_server_learns_no_secret(place: Path, server: Server, nightly: dict[str, Any]) -> None:
    runs = server.ask("flow_runs/filter")
    assert {run["parameters"].get("settings") is not None for run in runs}
    told = [runs, server.ask("deployments/filter"), server.ask("artifacts/filter"), server.ask("logs/filter")]
    assert "proxy" in str(runs)  # of the flows inside, without who logs in there
    assert PASSWORD not in str(told)
    database = (server.folder / "prefect" / "prefect.db").read_bytes()
    assert b"***" in database
    assert PASSWORD.encode() not in database


def test_a_second_serve_replaces_the_first_and_another_root_is_refused(
    place: Path, server: Server, nightly: Any
) -> None:
    (place / "other").mkdir()
    (place / "other" / "settings.yaml").write_text("root: nights\nserve: {work_pool: mill}\n")
    before = server.deployments()
    again = server.reelmill("again", "serve", place / "settings.yaml", "--set", "serve.work_pool=mill")
    other = server.reelmill("other", "serve", place / "other" / "settings.yaml")
    assert again.child.wait(timeout=200) == 0, again.output
    assert {name: d["id"] for name, d in server.deployments().items()} == {n: d["id"] for n, d in before.items()}
    assert len(server.ask("automations/filter")) == 2
    assert other.child.wait(timeout=200) == 2
    assert f"is that of {place / 'settings.yaml'}; give this one another serve.name" in " ".join(other.output.split())


def test_a_signal_ends_serve_and_leaves_nothing_behind(place: Path, server: Server, tmp_path: Path) -> None:
    server.environment["TMPDIR"] = str(tmp_path)
    served = server.reelmill("waiting", "serve", place / "settings.yaml", "--set", "serve.name=waiting")
    until(lambda: any((tmp_path / "runner_storage").glob("*")), "its folder", 200)
    served.end(signal.SIGTERM)
    assert served.child.returncode == 0, served.output
    assert "Traceback" not in served.output
    assert not list((tmp_path / "runner_storage").iterdir())


def test_with_a_server_a_command_is_a_flow_run_with_its_steps_as_tasks(
    place: Path, server: Server, nightly: Any
) -> None:
    before = {run["id"] for run in server.ask("flow_runs/filter")}
    again = server.reelmill("once", "run", place / "settings.yaml", "--json")
    assert again.child.wait(timeout=200) == 0, again.output
    new = [run for run in server.ask("flow_runs/filter") if run["id"] not in before]
    runs = {run["name"]: run for run in new if not run["auto_scheduled"]}  # the server may plan the next nights now
    flows = {flow["id"]: flow["name"] for flow in server.ask("flows/filter")}
    assert {flows[run["flow_id"]] for run in runs.values()} == {"run", "ingest", "extract"}
    assert {run["state_type"] for run in runs.values()} == {"COMPLETED"}
    ours = {"id": {"any_": [run["id"] for run in runs.values()]}}
    tasks = [task["name"].rpartition("-")[0] or task["name"] for task in server.ask("task_runs/filter", flow_runs=ours)]
    assert {"tidy", "read_source", "label", "report"} <= {*tasks}


def test_a_failure_that_may_pass_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the executor of flow runs, but for the pauses."""
    tried: list[str] = []

    def block(kind: str) -> None:
        tried.append(kind)
        raise OSError(errno.ETIMEDOUT if kind == "stalls" else errno.ENOSPC, "no luck")

    def both(settings: Settings, executor: Executor) -> None:
        for kind in ("stalls", "full"):
            with pytest.raises(OSError, match="no luck"):
                executor.step(block, kind, name=kind)

    monkeypatch.setitem(flow_runs.RETRIES, "retry_delay_seconds", 0.01)
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_LOGGING_TO_API_ENABLED: False}):
        start.flow_run(both, load(None, ["root=r"]))
    assert tried == ["stalls"] * 3 + ["full"]
