"""Each check of `doctor` tries the thing itself, and says what to do when it does not work."""

import io
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from reelmill.flows.cli import doctor as doctor_verb
from reelmill.flows.cli.main import app
from reelmill.flows.jobs import doctor


class Health(BaseHTTPRequestHandler):
    """Answers as a Prefect server's health address does."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def only(checks: Any) -> doctor.Check:
    (found,) = checks
    return found


def test_this_machine_can_do_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    ended = CliRunner().invoke(app, ["doctor", "--root", str(tmp_path / "not" / "yet"), "--json"])
    figures = json.loads(ended.stdout)
    found = {row["name"]: row for row in figures["checks"]}
    assert (ended.exit_code, figures["errors"]) == (0, 0), figures
    states = {name: row["state"] for name, row in found.items() if name != "disk"}
    networks = dict.fromkeys(("weights c3d", "weights i3d", "weights i3d_r50", "weights vgg19"), "warning")
    names = ("python", "packages", "torch", "decoder", "yt-dlp", "JavaScript", "ffmpeg", "server")
    assert states == {**dict.fromkeys(names, "ok"), **networks}
    assert "reelmill weights fetch vgg19-imagenet" in found["weights vgg19"]["advice"]
    assert "i3d-r50-kinetics400 --sha256 HASH" in found["weights i3d_r50"]["advice"]
    assert found["JavaScript"]["found"].startswith("deno 2.")
    assert "25 frames of 25" in found["decoder"]["found"]
    assert str(tmp_path) in found["disk"]["found"]
    out = Console(width=80, file=io.StringIO())
    doctor_verb.render(out, doctor.DoctorResult([doctor.Check(**row) for row in figures["checks"]], 0))
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.lstrip().startswith(("ok ", "warning ", "error ")) for line in lines) == len(found)


def test_what_does_not_work_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripts").mkdir()
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda name: str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'empty'}:/usr/bin:/bin")
    assert only(doctor._javascript()).found == "no deno"
    broken = program(tmp_path / "scripts" / "deno", "echo 'cannot run here' >&2; exit 3")
    assert (only(doctor._javascript()).state, only(doctor._javascript()).found) == ("warning", "cannot run here")
    program(broken, "echo 41")
    assert only(doctor._javascript()).state == "warning"
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program(tmp_path / "ffmpeg", "exit 1")))
    assert only(doctor._ffmpeg()).state == "error"
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    assert only(doctor._ffmpeg()).state == "error"
    monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "none"))
    assert only(doctor._downloader()).state == "error"
    assert only(doctor._decoder()).state == "error"


def test_packages_are_compared_with_what_the_project_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy>=1", "no-such-thing", "av<2", 'x; extra == "dev"'])
    found = only(doctor._packages())
    assert found.state == "error"
    assert found.found.startswith("no-such-thing is missing, av ")
    assert found.found.endswith("(<2 is needed)")


def test_weights_of_another_file_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"something else")
    states = {row.name: row.state for row in doctor._weights()}
    assert states["weights vgg19"] == "error"
    assert states["weights c3d"] == "warning"


def test_disk_and_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    for free, state in ((1 << 40, "ok"), (2 << 30, "warning"), (1 << 20, "error")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place, free=free: usage._replace(free=free))
        assert only(doctor._disk(tmp_path / "later")).state == state
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    assert "cannot be written to" in only(doctor._disk(tmp_path)).found
    assert only(doctor._disk("s3://bucket/root")).state == "ok"
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api/")
        assert only(doctor._server()).state == "ok"
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/other")
        assert only(doctor._server()).state == "error"
        server.shutdown()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/api")
        assert "does not answer" in only(doctor._server()).found
