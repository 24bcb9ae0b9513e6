"""A Prefect server that goes away in the middle of an extraction: a real one, killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reelmill.flows.cli import main as cli
from reelmill.storage import Tables, open_store
from reelmill.storage.features import list_stores
from tests.faults.work import corpus

NETWORK = "extract.extractors={c3d: {weights: random, layers: [conv5], windows: 1, batch_size: 4}}"


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
           "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL"}  # fmt: skip
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}/api"
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            assert server.poll() is None, (home / "server.log").read_text()[-2000:]
            time.sleep(0.5)
        yield server, address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def media(root: Path, count: int) -> None:
    """A root with so many measured videos."""
    rows = [
        {"video_id": v.video_id, "uri": v.path, "sha256": v.sha256, "bytes": v.bytes, "start_ms": v.start_ms,
         "duration_ms": v.duration_ms, "container": "mp4", "codec": "h264", "width": 96, "height": 64, "rotation": 0,
         "frame_count": 20, "mean_fps": 25.0, "variable_rate": False}
        for v in corpus(root.parent / "files", count)
    ]  # fmt: skip
    Tables(root).write("media", rows)


@pytest.mark.parametrize("lost", [httpx.ConnectError("refused"), RuntimeError("Failed to reach API at http://x/api/")])
def test_a_server_that_does_not_answer_is_one_message(
    lost: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(**_: object) -> None:
        raise lost

    monkeypatch.setattr(cli, "app", gone)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1
    assert "the Prefect server http://127.0.0.1:1/api does not answer" in said
    assert "run the same command" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_dies_under_a_flow_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    media(root, 12)
    main = "from reelmill.flows.cli.main import main; main()"
    command = [sys.executable, "-c", main, "extract", "--root", str(root), "--json",
               "--set", NETWORK, "--set", "extract.block=2", "--set", "extract.workers=1"]  # fmt: skip
    with prefect_server(tmp_path) as (server, address):
        env = {**os.environ, "PREFECT_API_URL": address, "PREFECT_HOME": str(tmp_path)}
        extracting = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        while not list_stores(root) and time.monotonic() < deadline:
            assert extracting.poll() is None, extracting.communicate()
            time.sleep(0.05)
        os.killpg(server.pid, signal.SIGKILL)
        committed = set(open_store(root, "c3d").keys())
        out, said = extracting.communicate(timeout=400)
    (name,) = list_stores(root)
    store = open_store(root, name)
    assert committed <= set(store.keys())
    assert store.verify() == []
    if extracting.returncode:
        assert "Traceback" not in said, said[-3000:]
        assert "Prefect" in said
        assert address in said
        assert "run the same command" in " ".join(said.split())
        assert '"error"' in out
    again = subprocess.run(command, env={**os.environ, "PREFECT_HOME": str(tmp_path)}, capture_output=True, timeout=400)
    assert again.returncode == 0, again.stderr[-3000:]
    store.refresh()
    assert len(store) == 12
    print(f"status {extracting.returncode}, {len(committed)} committed before, said: {said[-400:]}")
