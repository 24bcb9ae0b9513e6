"""A real Prefect server as a process of its own, with workers, for the tests that need one."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

LIMIT_S = 240.0
"""A server needs 15 s to start on an idle machine."""


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Wait until this gives something true, and return it; AssertionError after the limit."""
    stop = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < stop, f"waited {limit_s:.0f} s in vain for {what}"
        time.sleep(0.3)
    return found


class Process:
    """A child in a process group of its own, with its output in a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as out:
            self.child = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the whole group and wait for its leader; nothing if it has ended."""
        if self.child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)
        try:
            self.child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.end(signal.SIGKILL)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Server:
    """A Prefect server on the loopback, with its API as functions."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.started: list[Process] = []
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_UI_ENABLED": "false",
        }
        if database is not None:
            self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        (folder / "prefect").mkdir(parents=True)
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.process = self.start("server", [sys.executable, "-m", "prefect", "server", "start", *address])
        until(self._answers, f"the server\n{self.process.output[-2000:]}")

    def start(self, name: str, command: list[str]) -> Process:
        """A process that knows this server."""
        started = Process(command, self.folder / f"{name}.log", self.environment)
        self.started.append(started)
        return started

    def reelmill(self, name: str, *arguments: str | Path) -> Process:
        """A verb, in the background."""
        return self.start(
            name, [sys.executable, "-c", "from reelmill.flows.cli.main import main; main()", *map(str, arguments)]
        )

    def worker(self, name: str, pool: str) -> Process:
        """A worker of a pool."""
        command = ["worker", "start", "--pool", pool, "--name", name, "--type", "process"]
        return self.start(name, [sys.executable, "-m", "prefect", *command])

    def ask(self, path: str, **body: Any) -> Any:
        """What the API answers to a POST; to a GET if there is no body and the path ends in `?`."""
        if path.endswith("?"):
            answer = httpx.get(f"{self.url}/{path[:-1]}")
        else:
            answer = httpx.post(f"{self.url}/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Deployments by the flow's name."""
        flows = {flow["id"]: flow["name"] for flow in self.ask("flows/filter")}
        return {flows[d["flow_id"]]: d for d in self.ask("deployments/filter")}

    def run(self, deployment: dict[str, Any], **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        state = {"type": "SCHEDULED"}
        return str(
            self.ask(f"deployments/{deployment['id']}/create_flow_run", state=state, parameters=parameters)["id"]
        )

    def flow_run(self, run: str) -> dict[str, Any]:
        """A flow run as the API tells it."""
        return dict(self.ask(f"flow_runs/{run}?"))

    def ended(self, run: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait for the end of a run."""

        def final() -> dict[str, Any] | None:
            told = self.flow_run(run)
            return told if told["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return dict(until(final, f"the end of run {run}", limit_s))

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """Artifacts of a flow run by key."""
        rows = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
        return {row["key"]: row for row in rows}

    def _answers(self) -> bool:
        assert self.process.child.poll() is None, self.process.output[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def prefect_server(folder: Path, database: str | None = None) -> Iterator[Server]:
    """A server while the block runs."""
    server = Server(folder, database)
    try:
        yield server
    finally:
        for process in reversed(server.started):
            process.end()
