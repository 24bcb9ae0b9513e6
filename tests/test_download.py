"""yt-dlp against a real server on the loopback: what comes, what is refused, what is tried again, what is resumed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import av
import pytest
import yt_dlp.utils
from yt_dlp.networking import exceptions as networking

from pipeline import errors
from pipeline.child import Child
from pipeline.classify import classify, redact, retry_after_s
from pipeline.fetch import Downloader, DownloadOptions
from pipeline.hosts import HostPacer, is_public
from pipeline.loopback import serve_folder
from storage.errors import InputError
from tests.media import make_video
from tests.servers import World, misbehaving

QUICK = DownloadOptions(
    allow_private_addresses=True, proxy="", backoff_s=0.02, socket_timeout_s=5, max_seconds=20, attempts=3
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real video of 200 kB; most of it is a box that players skip."""
    made = make_video(tmp_path_factory.mktemp("video") / "good.mp4", frames=25).read_bytes()
    rest = 200_000 - len(made)
    return made + rest.to_bytes(4, "big") + b"free" + bytes(i * i % 251 for i in range(rest - 8))


@pytest.fixture
def world(video: bytes) -> World:
    return World(media=video, other=video[:1000] + video[1000:][::-1])


@pytest.fixture
def base(world: World) -> Iterator[str]:
    with misbehaving(world) as base:
        yield base


@pytest.fixture(scope="module")
def process() -> Iterator[Child]:
    """One downloading process for all tests: starting it takes a second."""
    with Child("pipeline.download:download", memory_bytes=QUICK.memory_bytes) as child:
        yield child


@pytest.fixture
def downloader(process: Child, tmp_path: Path) -> Downloader:
    return make_downloader(process, tmp_path / "root")


def make_downloader(process: Child, root: Path, **options: object) -> Downloader:
    downloader = Downloader(root, replace(QUICK, **options))  # type: ignore[arg-type]
    downloader._child = process
    return downloader


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def standing(downloader: Downloader) -> list[str]:
    """Names of the files in the media folder, partial ones included, pacing left out."""
    found = (p.relative_to(downloader.media) for p in downloader.media.rglob("*") if p.is_file())
    return sorted(str(p) for p in found if p.parts[0] != ".hosts")


def partial(downloader: Downloader, video_id: str) -> Path:
    return downloader.media / ".partial" / sha256(video_id.encode())[:16]


def resumed_from(headers: dict[str, str]) -> int:
    return int(headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


def until(condition: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# What comes


def test_a_good_file_stands_under_its_key_and_is_found_again(downloader: Downloader, world: World, base: str) -> None:
    fetched = downloader.fetch("../../v 1\0", f"{base}/good/../good/%2e%2e%2fx.mp4")
    key = sha256(b"../../v 1\0")[:16]
    assert fetched.path == downloader.media / key[:2] / f"{key}.mp4"
    assert fetched.path.read_bytes() == world.media
    assert (fetched.sha256, fetched.bytes) == (sha256(world.media), len(world.media))
    assert (fetched.downloader, fetched.format_id, fetched.attempts) == (f"yt-dlp {yt_dlp.version.__version__}", "mp4", 1)
    assert fetched.info == {}  # a direct link has no page that claims anything
    assert standing(downloader) == [f"{key[:2]}/{key}.json", f"{key[:2]}/{key}.mp4"]

    asked = len(world.requests)
    again = downloader.fetch("../../v 1\0", f"{base}/good/../good/%2e%2e%2fx.mp4")
    assert again == replace(fetched, attempts=0)
    assert len(world.requests) == asked


def test_what_stands_is_taken_only_whole_and_for_the_same_question(
    downloader: Downloader, process: Child, world: World, base: str
) -> None:
    first = downloader.fetch("v", f"{base}/good/x.mp4")
    first.path.write_bytes(world.other)  # same size
    assert downloader.fetch("v", f"{base}/good/x.mp4").sha256 == sha256(world.media)
    assert len(world.hits("/good/x.mp4")) == 4
    downloader.fetch("v", f"{base}/good/y.mp4")  # the source corrected the address
    assert len(world.hits("/good/y.mp4")) == 2
    make_downloader(process, downloader.media.parent, max_height=720).fetch("v", f"{base}/good/y.mp4")
    assert len(world.hits("/good/y.mp4")) == 4


def test_a_playlist_of_segments_and_the_columns_of_a_page(
    downloader: Downloader, world: World, base: str, tmp_path: Path
) -> None:
    segment = make_video(tmp_path / "s.ts", frames=10).read_bytes()
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", *["#EXTINF:1,\ns.ts"] * 2, "#EXT-X-ENDLIST\n"]
    world.files = {
        "/p/list.m3u8": ("application/vnd.apple.mpegurl", "\n".join(lines).encode()),
        "/p/s.ts": ("video/mp2t", segment),
        "/p/page": (
            "text/html",
            b'<html><head><title>A title</title><meta property="og:title" content="A title">'
            b'<meta property="og:description" content="Words"><meta property="og:video:url" content="list.m3u8">'
            b'</head><body><video><source src="list.m3u8" type="application/x-mpegurl"></video></body></html>',
        ),
    }
    fetched = downloader.fetch("v", f"{base}/p/page")
    assert fetched.path.read_bytes() == segment * 2
    assert fetched.info == {"title": "A title", "description": "Words"} | fetched.info
    assert set(fetched.info) <= {"title", "description", "claimed_duration_ms", "uploader"}


def test_picture_and_sound_are_merged(downloader: Downloader, world: World, base: str, tmp_path: Path) -> None:
    make_video(tmp_path / "both.mp4", frames=25, sound=True)
    with av.open(str(tmp_path / "both.mp4")) as source:
        for kind in ("video", "audio"):
            source.seek(0)
            with av.open(str(tmp_path / f"{kind}.mp4"), "w") as out:
                stream = out.add_stream_from_template(source.streams.get(**{kind: 0})[0])
                for packet in source.demux(**{kind: 0}):
                    if packet.dts is not None:
                        packet.stream = stream
                        out.mux(packet)
            world.files[f"/d/{kind}.mp4"] = ("video/mp4", (tmp_path / f"{kind}.mp4").read_bytes())
    manifest = (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="9000" codecs="avc1.64000d" width="320"'
        ' height="240"><BaseURL>video.mp4</BaseURL></Representation></AdaptationSet>'
        '<AdaptationSet mimeType="audio/mp4"><Representation id="a" bandwidth="900" codecs="mp4a.40.2">'
        "<BaseURL>audio.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
    world.files["/d/all.mpd"] = ("application/dash+xml", manifest.encode())
    fetched = downloader.fetch("v", f"{base}/d/all.mpd")
    with av.open(str(fetched.path)) as merged:
        assert sorted(stream.type for stream in merged.streams) == ["audio", "video"]
        assert len(list(merged.decode(video=0))) == 25
    assert fetched.format_id == "v+a"


def test_a_folder_served(downloader: Downloader, world: World, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a b.mp4").write_bytes(world.media)
    (tmp_path / "secret.mp4").write_bytes(world.media)
    with serve_folder(tmp_path / "served") as base:
        assert downloader.fetch("v", f"{base}/a%20b.mp4").sha256 == sha256(world.media)
        for path in ("%2e%2e/secret.mp4", "none.mp4", ""):
            with pytest.raises(errors.Removed):
                downloader.fetch("w", f"{base}/{path}")


# What is refused, and what is tried again


@pytest.mark.parametrize(
    ("path", "expected", "tries"),
    [
        ("404/x.mp4", errors.Removed, 1),
        ("410/x.mp4", errors.Removed, 1),
        ("451/x.mp4", errors.Removed, 1),
        ("403/x.mp4", errors.Forbidden, 1),
        ("401/x.mp4", errors.Forbidden, 1),
        ("400/x.mp4", errors.Unsupported, 1),
        ("429/x.mp4", errors.RateLimited, 3),
        ("500/x.mp4", errors.ServerError, 3),
        ("503/x.mp4", errors.ServerError, 3),
    ],
)
def test_an_answer_has_its_class_and_its_number_of_tries(
    downloader: Downloader, world: World, base: str, path: str, expected: type[errors.VideoError], tries: int
) -> None:
    with pytest.raises(expected, match=path[:3]) as caught:
        downloader.fetch("v", f"{base}/{path}")
    assert type(caught.value) is expected
    assert caught.value.attempts == tries
    assert len(world.hits(f"/{path}")) == tries
    assert not standing(downloader)


def test_a_server_error_passes(downloader: Downloader, world: World, base: str) -> None:
    fetched = downloader.fetch("v", f"{base}/broken-then-good/x.mp4")
    assert fetched.sha256 == sha256(world.media)
    assert fetched.attempts == 2
    assert len(world.hits("/broken-then-good/x.mp4")) == 4  # 500; page, 500, file


def test_a_rate_limit_is_waited_for(downloader: Downloader, world: World, base: str) -> None:
    fetched = downloader.fetch("v", f"{base}/limited-then-good/x.mp4")
    assert fetched.sha256 == sha256(world.media)
    first, second, *_ = world.times("/limited-then-good/x.mp4")
    assert 1.0 <= second - first < 3.0
    assert fetched.attempts == 2


def test_a_long_rate_limit_closes_the_host(downloader: Downloader, world: World, base: str) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        downloader.fetch("v", f"{base}/limited-for-an-hour/x.mp4")
    assert caught.value.attempts == 1
    assert 3590 < caught.value.retry_after_s <= 3600
    asked = len(world.requests)
    with pytest.raises(errors.RateLimited, match="127.0.0.1 asked for a pause"):
        downloader.fetch("w", f"{base}/good/x.mp4")
    assert len(world.requests) == asked


def test_a_file_that_is_refused_is_looked_up_anew_once(downloader: Downloader, world: World, base: str) -> None:
    assert downloader.fetch("v", f"{base}/signed/x.mp4").sha256 == sha256(world.media)
    assert len(world.hits("/signed/x.mp4")) == 4
    with pytest.raises(errors.Forbidden):
        downloader.fetch("w", f"{base}/forbidden-file/x.mp4")
    assert len(world.hits("/forbidden-file/x.mp4")) == 4


def test_a_connection_that_is_refused_is_the_network(downloader: Downloader) -> None:
    with pytest.raises(errors.Network, match="refused") as caught:
        downloader.fetch("v", "http://127.0.0.1:9/x.mp4")
    assert caught.value.attempts == 3


@pytest.mark.parametrize("way", ["html/x", "html/x.mp4", "html-later/x.mp4"])
def test_a_page_is_no_video(downloader: Downloader, base: str, way: str) -> None:
    with pytest.raises(errors.Unsupported):
        downloader.fetch("v", f"{base}/{way}")
    assert not standing(downloader)


def test_a_list_is_no_video(downloader: Downloader, world: World, base: str) -> None:
    items = "".join(f"<item><title>{i}</title><link>{base}/good/{i}.mp4</link></item>" for i in range(2))
    world.files["/feed"] = ("application/xml", f"<rss><channel><title>t</title>{items}</channel></rss>".encode())
    with pytest.raises(errors.Unsupported, match="list"):
        downloader.fetch("v", f"{base}/feed")
    assert [path for path, _, _ in world.requests] == ["/feed"]


@pytest.mark.parametrize("way", ["good", "unmeasured"])
def test_size_is_limited_with_and_without_a_promise(
    downloader: Downloader, process: Child, world: World, base: str, way: str
) -> None:
    assert downloader.fetch("v", f"{base}/{way}/x.mp4").sha256 == sha256(world.media)
    small = make_downloader(process, downloader.media.parent, max_bytes=50_000)
    with pytest.raises(errors.TooLarge, match="50000"):
        small.fetch("w", f"{base}/{way}/x.mp4")
    assert len(standing(small)) == 2
    assert small.fetch("v", f"{base}/{way}/x.mp4").attempts == 0


def test_speed_is_limited(process: Child, tmp_path: Path, base: str) -> None:
    began = time.monotonic()
    make_downloader(process, tmp_path, rate_limit_bytes=400_000).fetch("v", f"{base}/good/x.mp4")
    assert time.monotonic() - began > 0.4  # 200 kB


def test_silence_ends_at_the_socket_limit(process: Child, tmp_path: Path, base: str) -> None:
    began = time.monotonic()
    with pytest.raises(errors.Network, match="timed out"):
        make_downloader(process, tmp_path, socket_timeout_s=0.3, attempts=1).fetch("v", f"{base}/stalled/x.mp4")
    assert time.monotonic() - began < 4


# What is resumed, and what is not


def test_the_time_limit_leaves_a_part_that_the_next_run_continues(process: Child, tmp_path: Path, world: World) -> None:
    with misbehaving(world) as base:
        impatient = make_downloader(process, tmp_path, max_seconds=1.0)
        began = time.monotonic()
        with pytest.raises(errors.TimedOut, match="limit of"):
            impatient.fetch("v", f"{base}/slow/x.mp4")
        assert time.monotonic() - began < 6  # the start of the process does not count
        world.drip_s = 0.0
        fetched = make_downloader(process, tmp_path).fetch("v", f"{base}/slow/x.mp4")
    assert fetched.sha256 == sha256(world.media)
    assert resumed_from(world.hits("/slow/x.mp4")[-1]) >= 5000
