"""Passwords, cookies and tokens are used and not told: in outcomes, `--json`, last words, Prefect's database."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reelmill.flows.jobs.results import plain
from reelmill.flows.jobs.status import status
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline import errors
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.download.fetch import Downloader
from reelmill.pipeline.download.ingest import Wanted, fetch_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.process.child import Child
from reelmill.pipeline.secrets import mask, redact, secrets_of
from reelmill.storage import Outcomes
from reelmill.storage.errors import InputError
from tests.servers import World, misbehaving

PASSWORD, TOKEN, COOKIE = "passw0rd+x", "t0ken-5f2c", "c00kie-8841"


@pytest.fixture
def world() -> World:
    return World(media=b"x" * 200_000)


@pytest.fixture
def base(world: World) -> Iterator[str]:
    with misbehaving(world) as base:
        yield base


@pytest.fixture
def options(tmp_path: Path, base: str) -> DownloadOptions:
    """Cookies and a proxy with a password; the last line of the cookies is not whole, and yt-dlp complains of it."""
    cookies = tmp_path / "cookies.txt"
    line = f"127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{COOKIE}\n"
    cookies.write_text(f"# Netscape HTTP Cookie File\n{line}127.0.0.1\tFALSE\t/\t{COOKIE}\n")
    return DownloadOptions(
        allow_private_addresses=True, proxy=base.replace("://", f"://me:{PASSWORD}@"), cookies_file=cookies,
        attempts=1, max_seconds=30, backoff_s=0.01, per_host_interval_s=0,
    )  # fmt: skip


def told(text: str) -> list[str]:
    return [secret for secret in (PASSWORD, PASSWORD.replace("+", "%2B"), TOKEN, COOKIE) if secret in text]


def test_outcomes_hold_no_secret(tmp_path: Path, base: str, options: DownloadOptions, world: World) -> None:
    """Of downloads that fail in every way: by an answer, in yt-dlp, before it, and by a process that dies."""
    user = base.replace("://", f"://me:{PASSWORD}@")
    urls = [
        f"h/x.mp4?token={TOKEN}",
        f"{user}/404/x.mp4?token={TOKEN}",
        f"{user}/html/x?sig={TOKEN}",
        f"{user}/500/{TOKEN}.mp4?key={TOKEN}",
        f"ftp://me:{PASSWORD}@h/{TOKEN}",
        f"http://me:{PASSWORD}@[::1/x",
    ]
    wanted = [Wanted(str(number), url) for number, url in enumerate(urls)]
    outcomes = fetch_media(str(tmp_path / "root"), wanted, options, Limits())
    assert [outcome.status for outcome in outcomes] == ["failed"] * len(urls)
    assert any("Cookie" in headers for _, headers, _ in world.requests)
    assert any("Proxy-Authorization" in headers for _, headers, _ in world.requests)
    messages = json.dumps(Outcomes(tmp_path / "root").tables.read("outcomes").to_pylist(), default=str)
    assert not told(messages)
    assert not told(json.dumps(plain(status(str(tmp_path / "root"))), default=str))


def test_the_last_words_of_a_process_hold_no_secret(tmp_path: Path, base: str, options: DownloadOptions) -> None:
    with Downloader(tmp_path / "root", options) as downloader:

        def kill() -> None:
            deadline = time.monotonic() + 20
            while not list(downloader.media.glob(".partial/*/*.part")) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(downloader._child._process.popen.pid, signal.SIGKILL)  # type: ignore[union-attr]

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(errors.Killed) as caught:
            downloader.fetch("v", f"{base}/slow/x.mp4")
        killer.join()
    assert "last output" in str(caught.value), "yt-dlp complains of the cookies on its output"
    assert "…" in str(caught.value)
    assert not told(str(caught.value))


def leaves() -> Iterator[object]:
    """Every value that leaves a flow with its settings: for people, for programs, for Prefect's database."""
    settings = load(None, ["root=r", f"download.proxy=http://me:{PASSWORD}@proxy:3128"])
    yield repr(settings)
    yield settings.model_dump_json()
    yield str(settings.model_dump())


def test_settings_are_shown_without_the_proxys_password() -> None:
    from reelmill.flows.jobs.ingest import ingest
    from reelmill.flows.jobs.run import run
    from reelmill.flows.serve.flow_runs import FlowRuns, as_flow

    settings = load(None, ["root=r", f"download.proxy=http://me:{PASSWORD}@proxy:3128"])
    for shown in leaves():
        assert not told(str(shown))
    for flow in (as_flow(ingest, FlowRuns()), as_flow(run, FlowRuns())):  # what Prefect keeps in its database
        assert not told(json.dumps(flow.serialize_parameters({"settings": settings}), default=str))
    assert urlsplit(settings.download.proxy or "").password == PASSWORD  # and it is used


def test_masked_settings_are_refused() -> None:
    """They come back from a place that keeps no secrets: without its password the proxy would fail each video."""
    shown = json.loads(load(None, ["root=r", "download.proxy=http://a:b@h:1"]).model_dump_json())
    with pytest.raises(ValueError, match="masked secret"):
        Settings.model_validate(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        f"root: r\ndownload: {{proxy: [http://me:{PASSWORD}@h]}}",
        f"root: r\ndownload: [{{proxy: 'http://me:{PASSWORD}@h'}}]",
        f"root: r\ndownload: {{proxi: http://me:{PASSWORD}@h}}",
        f"root: r\ndownload: {{proxy: http://me:{PASSWORD}@h\n",
    ],
)
def test_errors_of_settings_hold_no_password(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "s.yaml").write_text(wrong)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "s.yaml")
    assert not told(str(caught.value))


def test_what_is_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").write_text(f"#HttpOnly_h\tTRUE\t/\tTRUE\t0\tsid\t{COOKIE}\n# a comment\n\n")
    found = {*secrets_of(f"https://u:p%40ss@h/a?X-Sig={TOKEN}&v=abcdef", "http://a:bcdef@h", str(tmp_path / "c"))}
    assert found >= {"p%40ss", "p@ss", TOKEN, "bcdef", COOKIE}
    assert "abcdef" not in found
    monkeypatch.setenv("https_proxy", f"http://me:{PASSWORD}@proxy:3128")  # what a download takes where none is set
    assert PASSWORD in {*secrets_of("https://h/a", None, None)}
    assert mask(f"a {TOKEN} b c00 {COOKIE}", found) == "a … b c00 …"
    assert mask("a cat", ["a", ""]) == "a cat"
    assert redact(f"at https://u:{PASSWORD}@h/a?x={TOKEN}") == "at https://h/a?…"


def test_children_are_not_told_by_their_command_line(tmp_path: Path) -> None:
    """Other users of the machine can read it."""
    with Child("reelmill.pipeline.download.ytdlp:download") as child:
        with pytest.raises(errors.VideoError):
            list(child.run(TOKEN, 20))
        assert child._process is not None
        assert TOKEN.encode() not in Path(f"/proc/{child._process.popen.pid}/cmdline").read_bytes()
