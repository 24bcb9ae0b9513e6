"""A host that refuses every video is left alone for a while, and its videos are left to a later run."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from reelmill.flows.cli.status import render
from reelmill.flows.jobs.status import status
from reelmill.pipeline import errors
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.download import breaker
from reelmill.pipeline.download.breaker import REFUSALS, HostBreaker
from reelmill.pipeline.download.fetch import hosts_folder
from reelmill.pipeline.download.hosts import HostPacer
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage import Outcomes, Tables
from tests.servers import World, misbehaving

OPTIONS = DownloadOptions(allow_private_addresses=True, attempts=1, proxy="", backoff_s=0.01)
REFUSED = errors.Forbidden("403")


@pytest.fixture
def world() -> World:
    return World(media=b"no video")


@pytest.fixture
def base(world: World) -> Iterator[str]:
    with misbehaving(world) as address:
        yield address


@pytest.mark.parametrize(("status", "name"), [("403", "forbidden"), ("429", "rate_limited")])
def test_a_ban_stops_the_host_and_marks_no_video_as_dead(
    tmp_path: Path, world: World, base: str, status: str, name: str
) -> None:
    videos = [f"v{number:02}" for number in range(REFUSALS + 4)]
    Tables(tmp_path).write("videos", [{"video_id": v, "url": f"{base}/{status}/{v}.mp4"} for v in videos])
    outcomes = fetch_media(tmp_path, missing_media(tmp_path), OPTIONS, Limits())
    assert [outcome.error_class for outcome in outcomes] == [name] * REFUSALS + ["host_paused"] * 4
    assert not any(world.hits(f"/{status}/{v}.mp4") for v in videos[REFUSALS:])
    assert "127.0.0.1 refused 5 videos in a row" in (outcomes[-1].message or "")
    assert Outcomes(tmp_path).permanently_failed("download") == {}
    assert len(missing_media(tmp_path)) == len(videos)
    asked = len(world.requests)
    again = fetch_media(tmp_path, missing_media(tmp_path), OPTIONS, Limits())  # another run, within the pause
    assert {outcome.error_class for outcome in again} == {"host_paused"}
    assert len(world.requests) == asked


def test_only_refusals_in_a_row_count(tmp_path: Path) -> None:
    one, other = HostBreaker(str(tmp_path)), HostBreaker(str(tmp_path))
    for _ in range(REFUSALS - 1):
        one.record("a", REFUSED)
    one.record("a", errors.Removed("404"))
    asked = errors.RateLimited("429")
    asked.retry_after_s = 60
    one.record("a", asked)
    other.check("a")
    other.record("a", None)
    one.record("a", errors.FormatUnavailable("none"))
    other.check("a")
    for _ in range(REFUSALS - 1):
        other.record("a", errors.RateLimited("429"))
    for each in (one, other):
        each.check("b")
        with pytest.raises(errors.HostPaused, match="another 60 min"):
            each.check("a")


def test_a_pause_ends_and_one_more_refusal_renews_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr(breaker.time, "time", lambda: now)
    host = HostBreaker(str(tmp_path))
    for _ in range(REFUSALS):
        host.record("a", REFUSED)
    now += breaker.PAUSE_S + 1
    host.check("a")
    host.record("a", REFUSED)
    with pytest.raises(errors.HostPaused):
        host.check("a")
    now += breaker.FORGET_S
    host.record("a", REFUSED)
    host.check("a")
    now -= 10 * breaker.FORGET_S  # the clock is set back
    host.check("a")
    next(tmp_path.iterdir()).write_text("{")
    host.check("a")


@pytest.mark.parametrize(
    "header", ["x-amz-request-id", "X-Amz-Id-2", "x-goog-hash", "X-GUploader-UploadID", "x-ms-request-id"]
)
def test_private_objects_of_a_bucket_pause_no_host(tmp_path: Path, world: World, base: str, header: str) -> None:
    world.headers = {header: "17F3"}
    videos = [f"v{number}" for number in range(REFUSALS + 2)]
    Tables(tmp_path).write("videos", [{"video_id": v, "url": f"{base}/403/{v}.mp4"} for v in videos])
    outcomes = fetch_media(tmp_path, missing_media(tmp_path), OPTIONS, Limits())
    assert [outcome.error_class for outcome in outcomes] == ["access_denied"] * len(videos)
    assert all(world.hits(f"/403/{v}.mp4") for v in videos)
    assert len(missing_media(tmp_path)) == len(videos), "the next run tries again"
    assert status(str(tmp_path)).paused == []


def test_status_lists_the_hosts_that_are_paused(tmp_path: Path) -> None:
    folder = hosts_folder(tmp_path)
    host, now = HostBreaker(str(folder)), datetime.now(UTC)
    for name, count in (("banned.example", REFUSALS), ("well.example", REFUSALS - 1)):
        for _ in range(count):
            host.record(name, REFUSED)
    HostPacer(str(folder)).hold("busy.example", 600)
    HostPacer(str(folder)).wait("idle.example", 1)
    (folder / "damaged.refusals").write_text("{")
    (folder / "of-0.1.0").write_text('{"next": 0.0, "shut_until": 9e9}')
    paused = status(str(tmp_path)).paused
    assert [(one.host, one.reason) for one in paused] == [
        ("banned.example", "it refused 5 videos in a row"),
        ("busy.example", "it asked for a pause"),
    ]
    left = [(datetime.fromisoformat(one.until) - now).total_seconds() for one in paused]
    assert left == [pytest.approx(3600, abs=60), pytest.approx(600, abs=60)]
    out = io.StringIO()
    render(Console(file=out, width=100), status(str(tmp_path)))
    assert "banned.example" in out.getvalue()
