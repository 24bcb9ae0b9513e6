"""yt-dlp against a real server on the loopback: what comes, what is refused, what is tried again, what is resumed."""

import hashlib
import itertools
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
import numpy as np
import pytest
import yt_dlp.utils
from yt_dlp.networking import exceptions as networking

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline import errors
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.download.classify import classify, retry_after_s
from reelmill.pipeline.download.fetch import Downloader
from reelmill.pipeline.download.hosts import HostPacer, is_public
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.download.ytdlp import _Ydl
from reelmill.pipeline.extract.cut import CutJob, cut
from reelmill.pipeline.probe import probe
from reelmill.pipeline.process.child import Child
from reelmill.pipeline.secrets import redact
from reelmill.storage.errors import InputError
from tests.media import make_video
from tests.servers import World, misbehaving

QUICK = DownloadOptions(
    allow_private_addresses=True,
    proxy="",
    backoff_s=0.02,
    socket_timeout_s=5,
    max_seconds=20,
    attempts=3,
    per_host_interval_s=0,
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
    with Child("reelmill.pipeline.download.ytdlp:download", memory_bytes=QUICK.memory_bytes) as child:
        yield child


@pytest.fixture
def downloader(process: Child, tmp_path: Path) -> Downloader:
    return make_downloader(process, tmp_path / "a %(id)s $HOME ~ root")


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
    assert (fetched.downloader, fetched.format_id, fetched.attempts) == (
        f"yt-dlp {yt_dlp.version.__version__}",
        "mp4",
        1,
    )
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
    assert not partial(downloader, "v").exists()


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
    with pytest.raises(errors.RateLimited, match=r"127\.0\.0\.1 asked for a pause"):
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


def test_a_stream_with_two_initialisations_is_unsupported(downloader: Downloader, world: World, base: str) -> None:
    """Two EXT-X-MAP, as in shared/cases/hls_two_maps: yt-dlp joins pieces by itself only up to the second."""
    pieces = "".join(f'#EXT-X-MAP:URI="{name}init.mp4"\n#EXTINF:2,\n{name}.m4s\n' for name in "ab")
    head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n"
    world.files["/two.m3u8"] = ("application/x-mpegurl", f"{head}{pieces}#EXT-X-ENDLIST\n".encode())
    for name in ("ainit.mp4", "a.m4s", "binit.mp4", "b.m4s"):
        world.files[f"/{name}"] = ("video/mp4", b"0" * 100)
    with pytest.raises(errors.Unsupported, match="Initialization fragment") as caught:
        downloader.fetch("v", f"{base}/two.m3u8")
    assert caught.value.attempts == 1


def test_two_programmes_of_a_stream_are_one_video(
    downloader: Downloader, world: World, base: str, tmp_path: Path
) -> None:
    """`#EXT-X-DISCONTINUITY`, as in shared/cases/hls_discontinuity: the clock begins again with the second programme.
    yt-dlp only joins the pieces; the decoder repairs the clock."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:6", "#EXTINF:6,", "a.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:6,", "b.ts"]
    world.files["/list.m3u8"] = ("application/vnd.apple.mpegurl", "\n".join([*lines, "#EXT-X-ENDLIST\n"]).encode())
    for name in ("a.ts", "b.ts"):
        world.files[f"/{name}"] = ("video/mp2t", make_video(tmp_path / name, frames=150, sound=True).read_bytes())
    from reelmill.pipeline.segments import count  # here: the light process below imports this file

    fetched = downloader.fetch("v", f"{base}/list.m3u8")
    facts = probe(fetched.path)
    assert (facts["duration_ms"], facts["frame_count"]) == (12_000, 300)
    (cells,) = count(np.array([facts["duration_ms"]]))
    plans = {0: FramePlan(Geometry(crop=(60, 80), scale_to=(60, 80)), Windows("timed", 1, step_ms=1000)),
             1: SoundPlan(16_000, least=1024)}  # fmt: skip
    *segments, _ = cut(CutJob(str(fetched.path), facts["start_ms"], facts["duration_ms"], 5000, plans))
    assert sorted((s.index, *s.cuts) for s in segments) == sorted([(i, n) for i in range(cells) for n in plans])
    heard = np.concatenate([s.cuts[1].values[0] for s in segments if 1 in s.cuts])
    assert np.isfinite(heard).sum() / 16_000 == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize("page", [{"is_live": True}, {"live_status": "is_upcoming"}, {"live_status": "post_live"}])
def test_a_page_of_a_live_video_is_not_yet(page: dict[str, object]) -> None:
    with pytest.raises(errors.NotYet, match="live") as caught:
        _Ydl.check_claims(None, page)
    assert not caught.value.permanent


def test_a_list_is_no_video(downloader: Downloader, world: World, base: str) -> None:
    items = "".join(f"<item><title>{i}</title><link>{base}/good/{i}.mp4</link></item>" for i in range(2))
    world.files["/feed"] = ("application/xml", f"<rss><channel><title>t</title>{items}</channel></rss>".encode())
    with pytest.raises(errors.Unsupported, match="list"):
        downloader.fetch("v", f"{base}/feed")
    assert [path for path, _, _ in world.requests] == ["/feed"]


def test_a_file_without_end_is_left_at_the_limit(process: Child, tmp_path: Path, base: str) -> None:
    with pytest.raises(errors.TooLarge, match="1000000"):
        make_downloader(process, tmp_path, max_bytes=1_000_000).fetch("v", f"{base}/endless/x.mp4")


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
    world.drip_s = 0.2
    with misbehaving(world) as base:
        impatient = make_downloader(process, tmp_path, max_seconds=2.5)
        impatient.fetch("first", f"{base}/good/x.mp4")  # the first video of a process takes a second longer
        began = time.monotonic()
        with pytest.raises(errors.TimedOut, match=r"limit of 2\.5 s"):
            impatient.fetch("v", f"{base}/slow/x.mp4")
        assert time.monotonic() - began < 8  # the start of the process does not count
        world.drip_s = 0.0
        fetched = make_downloader(process, tmp_path).fetch("v", f"{base}/slow/x.mp4")
    assert fetched.sha256 == sha256(world.media)
    assert resumed_from(world.hits("/slow/x.mp4")[-1]) >= 5000


def test_a_process_that_was_killed_is_continued(process: Child, tmp_path: Path, world: World, base: str) -> None:
    downloader = make_downloader(process, tmp_path / "a $HOME ~ b", attempts=1)
    part = partial(downloader, "v") / "media.mp4.part"

    def kill() -> None:
        until(lambda: part.exists() and part.stat().st_size > 20_000)
        os.kill(process._process.popen.pid, signal.SIGKILL)  # type: ignore[union-attr]

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        with pytest.raises(errors.Killed, match=r"reelmill.pipeline.download.ytdlp:download .*SIGKILL"):
            downloader.fetch("v", f"{base}/slow/x.mp4")
        killed.result()
    had = part.stat().st_size
    world.drip_s = 0.0
    assert downloader.fetch("v", f"{base}/slow/x.mp4").sha256 == sha256(world.media)
    last = world.hits("/slow/x.mp4")[-1]
    assert resumed_from(last) == had > 20_000
    assert last["If-Range"].startswith('"')
    assert not part.parent.exists()


def test_a_cut_is_continued_and_only_the_rest_is_sent(downloader: Downloader, world: World, base: str) -> None:
    world.cut = 70_000
    fetched = downloader.fetch("v", f"{base}/cut-once/x.mp4")
    assert fetched.sha256 == sha256(world.media)
    _, _, resumed = world.hits("/cut-once/x.mp4")
    assert 50_000 < resumed_from(resumed) <= 70_000  # yt-dlp writes whole blocks
    assert resumed["If-Range"] == '"cut"'
    assert fetched.attempts == 1


def test_a_cut_without_end_is_cut_short(downloader: Downloader, world: World, base: str) -> None:
    with pytest.raises(errors.CutShort) as caught:
        downloader.fetch("v", f"{base}/cut-always/x.mp4")
    assert caught.value.attempts == 3
    assert not [name for name in standing(downloader) if not name.startswith(".partial")]


@pytest.mark.parametrize("way", ["changed", "changed-unnoticed", "cut-nameless"])
def test_two_contents_are_never_mixed(downloader: Downloader, world: World, base: str, way: str) -> None:
    world.cut = 70_000
    fetched = downloader.fetch("v", f"{base}/{way}/x.mp4")
    assert fetched.sha256 == sha256(world.media if way == "cut-nameless" else world.other)
    assert 50_000 < resumed_from(world.hits(f"/{way}/x.mp4")[2]) <= 70_000  # it was tried


@pytest.mark.parametrize("etag", [None, "right", '"wrong"'])
@pytest.mark.parametrize("size", [1000, 200_000, 300_000])
def test_a_foreign_part_is_not_continued(
    downloader: Downloader, world: World, base: str, etag: str | None, size: int
) -> None:
    folder = partial(downloader, "v")
    folder.mkdir(parents=True)
    (folder / "media.mp4.part").write_bytes(bytes(size) if etag != "right" or size > 1000 else world.media[:size])
    right = f'"{sha256(world.media)[:16]}"'
    if etag:
        note = {"etag": right if etag == "right" else etag, "last_modified": None, "size": len(world.media)}
        (folder / "media.mp4.note").write_text(json.dumps(note))
    assert downloader.fetch("v", f"{base}/good/x.mp4").sha256 == sha256(world.media)
    asked = [resumed_from(headers) for headers in world.hits("/good/x.mp4")]
    if etag is None:
        assert asked == [0, 0]  # nobody knows of what it is a part
    elif etag == "right" and size == 1000:
        assert asked == [0, 1000]


def test_two_processes_fetch_one_video_once(process: Child, tmp_path: Path, world: World, base: str) -> None:
    one = make_downloader(process, tmp_path)
    world.drip_s = 0.02
    with Downloader(tmp_path, QUICK) as other, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(d.fetch, "v", f"{base}/slow/x.mp4") for d in (one, other)]
        first, second = (future.result() for future in both)
    assert first.path == second.path
    assert first.sha256 == second.sha256 == sha256(world.media)
    assert len(world.hits("/slow/x.mp4")) == 2  # page and file, of one of them
    assert len(standing(one)) == 2


# Who may be asked, and what is told


def test_no_way_leads_inside(
    tmp_path: Path, world: World, base: str, monkeypatch: pytest.MonkeyPatch, video: bytes
) -> None:
    """The first server may be asked, as a proxy of this machine may; the second, on another address, may not."""
    monkeypatch.setenv("http_proxy", base)
    monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
    inside = World(media=video)
    guarded = replace(QUICK, allow_private_addresses=False, proxy=None)
    with misbehaving(inside, "127.0.0.2") as canary, Downloader(tmp_path, guarded) as downloader:
        world.elsewhere = f"{canary}/good/x.mp4"
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{canary}/good/x.mp4\n#EXT-X-ENDLIST\n"
        world.files = {
            "/page": ("text/html", f"<html><video src='{canary}/good/x.mp4'></video></html>".encode()),
            "/list.m3u8": ("application/vnd.apple.mpegurl", playlist.encode()),
        }
        for path in ("redirect-elsewhere/x.mp4", "page", "list.m3u8"):
            with pytest.raises(errors.UnsafeUrl, match=r"127\.0\.0\.2"):
                downloader.fetch("v", f"{base}/{path}")
        with pytest.raises(errors.UnsafeUrl, match=r"127\.0\.0\.2"):
            downloader.fetch("v", f"{canary}/good/x.mp4")
        assert not inside.requests
        assert len(world.hits("/redirect-elsewhere/x.mp4")) == 1
        assert downloader.fetch("w", f"{base}/good/x.mp4").sha256 == sha256(video)
        assert len(standing(downloader)) == 2


def test_an_outside_program_is_not_sent_to_fetch(downloader: Downloader, world: World, base: str) -> None:
    """yt-dlp would give an encrypted playlist to ffmpeg, whose connections nobody watches."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key"', "#EXTINF:1,", "s.ts"]
    world.files["/list.m3u8"] = ("application/vnd.apple.mpegurl", "\n".join([*lines, "#EXT-X-ENDLIST\n"]).encode())
    with pytest.raises(errors.Unsupported, match="outside program"):
        downloader.fetch("v", f"{base}/list.m3u8")
    assert not world.hits("/s.ts")


def test_a_redirect_to_a_file_is_refused(downloader: Downloader, base: str) -> None:
    with pytest.raises(errors.UnsafeUrl):
        downloader.fetch("v", f"{base}/redirect-file/x.mp4")
    assert not standing(downloader)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "FILE:/etc/hostname", "ftp://127.0.0.1/x.mp4", "rtmp://h/x"])
def test_only_listed_schemes_are_asked(downloader: Downloader, url: str) -> None:
    with pytest.raises(errors.UnsafeUrl, match="only http, https"):
        downloader.fetch("v", url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_secrets_are_sent_and_not_told(process: Child, tmp_path: Path, world: World, base: str) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tc00kie\n")
    before = cookies.read_bytes()
    downloader = make_downloader(process, tmp_path / "root", cookies_file=cookies)
    url = base.replace("://", "://user:passw0rd@")
    with pytest.raises(errors.Removed) as caught:
        downloader.fetch("v", f"{url}/404/x.mp4?token=t0ken")
    with pytest.raises(errors.Unsupported) as page:
        downloader.fetch("v", f"{url}/html/x.mp4?token=t0ken")
    assert world.hits("/404/x.mp4")[0]["Cookie"] == "session=c00kie"
    assert world.hits("/404/x.mp4")[0]["Authorization"].startswith("Basic ")
    for message in (str(caught.value), str(page.value)):
        assert not any(secret in message for secret in ("passw0rd", "t0ken", "c00kie"))
    assert downloader.fetch("v", f"{url}/good/x.mp4?token=t0ken").bytes == len(world.media)
    told = b"".join(p.read_bytes() for p in downloader.media.rglob("*.json"))
    assert b"t0ken" not in told
    assert b"passw0rd" not in told
    assert cookies.read_bytes() == before


def test_redacting() -> None:
    assert redact("at https://u:p@h/a?x=1&y=2 and http://h/b?tok, (url: /c?k=v)") == (
        "at https://h/a?… and http://h/b?… (url: /c?…)"
    )
    assert redact("What? Nothing = something?") == "What? Nothing = something?"


def test_requests_to_a_host_keep_their_distance(process: Child, tmp_path: Path, world: World, base: str) -> None:
    one = make_downloader(process, tmp_path, per_host_interval_s=1)
    with Downloader(tmp_path, one.options) as other, ThreadPoolExecutor(2) as pool:
        fetches = [pool.submit(d.fetch, name, f"{base}/good/{name}.mp4") for d, name in ((one, "a"), (other, "b"))]
        for future in fetches:
            future.result()
    times = [moment for _, _, moment in world.requests]
    assert len(times) == 4
    assert (
        min(later - sooner for sooner, later in itertools.pairwise(times)) > 0.5
    )  # on a busy machine a request arrives late


def test_a_pacer_forgets_and_survives(tmp_path: Path) -> None:
    pacer = HostPacer(str(tmp_path), 0.0)
    pacer.hold("Example.org", 50)
    with pytest.raises(errors.RateLimited, match=r"example\.org") as caught:
        pacer.wait("example.org", 10)
    assert 49 < caught.value.retry_after_s <= 50
    pacer.wait("example.com", 10)  # another host
    (file,) = (p for p in tmp_path.iterdir() if p.stat().st_size)
    file.write_text(json.dumps({"next": time.time() + 1e9, "shut_until": time.time() + 1e9}))  # the clock was set back
    pacer.wait("example.org", 10)
    file.write_text('{"next": ')  # torn
    pacer.wait("example.org", 10)


# Files of this machine


def test_a_local_file_is_taken_where_it_is(downloader: Downloader, tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "a:b.mp4"
    path.write_bytes(video)
    fetched = downloader.fetch("v", str(path))
    assert (fetched.path, fetched.sha256, fetched.bytes) == (path, sha256(video), len(video))
    assert (fetched.downloader, fetched.format_id, fetched.info) == (None, None, {})
    assert not downloader.media.exists()


def test_a_local_file_is_copied_if_asked(process: Child, tmp_path: Path, video: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(video)
    downloader = make_downloader(process, tmp_path / "root", copy_local=True)
    fetched = downloader.fetch("v", str(tmp_path / "x.mp4"))
    assert fetched.path.is_relative_to(downloader.media)
    assert fetched.sha256 == sha256(fetched.path.read_bytes()) == sha256(video)
    (tmp_path / "x.mp4").unlink()
    with pytest.raises(errors.NotFound):
        downloader.fetch("v", str(tmp_path / "x.mp4"))


@pytest.mark.parametrize("path", ["none.mp4", "", "a\0b", "x" * 5000, "ytsearch:cats"])
def test_a_local_file_that_is_not_there(downloader: Downloader, tmp_path: Path, path: str) -> None:
    with pytest.raises(errors.NotFound) as caught:
        downloader.fetch("v", path)
    assert caught.value.attempts == 1
    with pytest.raises(errors.NotFound, match="is a folder"):
        downloader.fetch("v", str(tmp_path))


@pytest.mark.parametrize("url", ["http:/x", "https:///x.mp4", "http://"])
def test_an_address_without_a_host_is_refused_before_any_request(downloader: Downloader, url: str) -> None:
    with pytest.raises(errors.Unsupported, match="names no host") as caught:
        downloader.fetch("v", url)
    assert caught.value.permanent


def test_local_files_can_be_forbidden(process: Child, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"x")
    with pytest.raises(errors.UnsafeUrl, match="local files are not allowed"):
        make_downloader(process, tmp_path, allow_local=False).fetch("v", str(tmp_path / "x.mp4"))


def test_options_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="attempts 0"):
        DownloadOptions(attempts=0)
    with pytest.raises(InputError, match=r"no-such\.txt.*does not exist"):
        Downloader(tmp_path, DownloadOptions(cookies_file=Path("no-such.txt")))
    assert DownloadOptions(**asdict(QUICK)) == QUICK
    assert DownloadOptions(format="best").selector() == "best"
    assert DownloadOptions(max_height=480).selector().startswith("bv*[height<=480][vcodec^=avc1]+ba[ext=m4a]/")


# The process


def surroundings(job: dict) -> Iterator[object]:
    """Run in a child: what the downloading process has loaded, and whether it can run JavaScript."""
    import reelmill.pipeline.download.ytdlp  # noqa: F401

    yield {name for name in ("torch", "prefect", "pydantic", "pyarrow", "h5py") if name in sys.modules}
    os.environ["PATH"] = ""  # no activated environment
    deno = yt_dlp.YoutubeDL({"quiet": True})._js_runtimes["deno"].info
    yield deno is not None and deno.supported
    done = subprocess.run([deno.path, "run", "-"], input=b"console.log(6*7)", capture_output=True, check=True)
    yield done.stdout


def test_the_process_is_light_and_runs_javascript_within_its_memory() -> None:
    with Child(f"{__name__}:surroundings", memory_bytes=DownloadOptions().memory_bytes) as child:
        loaded, supported, answer = child.run({}, 60)
    assert loaded == set()
    assert supported
    assert answer == b"42\n"
    assert threading.active_count() < 50


# Classes of errors


def extractor_error(text: str, **rest: object) -> yt_dlp.utils.ExtractorError:
    return yt_dlp.utils.ExtractorError(text, **rest)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (errors.Private, "[youtube] abc: Private video. Sign in if you've been granted access to this video"),
        (errors.Private, "[vimeo] 1: This video is private"),
        (errors.Private, "[youtube] abc: Join this channel to get access to members-only content like this video"),
        (errors.Private, "This video is only available for registered users. Use --cookies, --username and --password"),
        (errors.Private, "[x] 1: This video requires payment to watch"),
        (errors.Removed, "[youtube] abc: Video unavailable"),
        (errors.Removed, "[youtube] abc: Video unavailable. This video has been removed by the uploader"),
        (errors.Removed, "This video is no longer available because the YouTube account associated with it is closed"),
        (errors.Removed, "the YouTube account associated with this video has been terminated."),
        (errors.Removed, "This video is no longer available due to a copyright claim by X"),
        (errors.GeoBlocked, "Video unavailable. The uploader has not made this video available in your country"),
        (errors.GeoBlocked, "[bbc] 1: This video is not available from your location due to geo restriction"),
        (errors.AgeRestricted, "[youtube] abc: Sign in to confirm your age. This video may be inappropriate"),
        (errors.RateLimited, "[youtube] abc: Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser"),
        (errors.RateLimited, "Video unavailable. This content isn't available, try again later. The current session"),
        (errors.RateLimited, "YouTube is requiring a captcha challenge before playback"),
        (errors.Unsupported, "Unsupported URL: https://h/private-video-sign-in/copyright"),
        (errors.Unsupported, "[generic] 'x' is not a valid URL"),
        (errors.FormatUnavailable, "[x] 1: Requested format is not available. Use --list-formats for a list"),
        (errors.Unsupported, "[x] 1: This video is DRM protected"),
        (errors.FormatUnavailable, "[x] 1: No video formats found!"),
        (errors.Unsupported, "The extracted extension ('exe') is unusual and will be skipped for safety reasons"),
        (errors.UnsafeUrl, "file:// URLs are disabled by default in yt-dlp for security reasons."),
        (errors.UnsafeUrl, "No connection adapters were found for 'file:///etc/passwd'"),
        (errors.Removed, "unable to download video data: HTTP Error 410: Gone"),
        (errors.Forbidden, "unable to download video data: HTTP Error 403: Forbidden"),
        (errors.RateLimited, "Unable to download API page: HTTP Error 429: Too Many Requests"),
        (errors.ServerError, "[download] Got error: HTTP Error 503: Service Unavailable. Giving up after 1 retries"),
        (errors.CutShort, "[download] Got error: 3000 bytes read, 900 more expected. Giving up after 1 retries"),
        (errors.CutShort, "content too short (expected 10 bytes and served 5)"),
        (errors.Network, "[download] Got error: The read operation timed out. Giving up after 1 retries"),
        (errors.Network, "<urlopen error [Errno -3] Temporary failure in name resolution>"),
        (errors.Network, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        (errors.Network, "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))"),
        (errors.OutOfSpace, "unable to write data: [Errno 28] No space left on device"),
        (errors.NotYet, "[youtube] abc: This live event will begin in 3 days."),
        (errors.NotYet, "[youtube] abc: Premieres in 5 hours"),
        (
            errors.ExtractorFailed,
            "[x] 1: Unable to extract player data; please report this issue on https://github.com/x",
        ),
    ],
)
def test_a_message_has_its_class(expected: type[errors.VideoError], text: str) -> None:
    wrapped = yt_dlp.utils.DownloadError(f"ERROR: {text}", (None, extractor_error(text, expected=True), None))
    for error in (wrapped, extractor_error(text)):
        known = classify(error)
        assert type(known) is expected
        assert "ERROR" not in str(known)
        assert "please report" not in str(known)
    patient = expected is errors.RateLimited and "HTTP Error" not in text
    assert (classify(wrapped).retry_after_s or 0) == (3600 if patient else 0)


def test_every_error_of_yt_dlp_has_a_class() -> None:
    """By type alone, whatever it says; those that say nothing else are failures of an extractor: `unknown`."""
    plain = {"YoutubeDLError", "ExtractorError", "RegexNotFoundError", "UserNotLive", "DownloadError", "RequestError",
             "UnavailableVideoError", "_RequiredError", "XAttrMetadataError", "XAttrUnavailableError",
             "UnsafeExecExpansionError", "HTTPError"}  # fmt: skip

    def kinds(base: type[BaseException]) -> set[type[BaseException]]:
        return {base}.union(*(kinds(sub) for sub in base.__subclasses__()))

    rooms = ("yt_dlp.utils", "yt_dlp.networking", "yt_dlp.cookies")
    found = {kind for kind in kinds(yt_dlp.utils.YoutubeDLError) if kind.__module__.startswith(rooms)}
    assert len(found) > 25
    assert networking.IncompleteRead in found
    for kind in found:
        error = kind.__new__(kind)
        Exception.__init__(error, "xyzzy")
        known = classify(error)
        assert isinstance(known, errors.VideoError)
        assert (known.error_class == "unknown") == (kind.__name__ in plain), kind
        assert "xyzzy" in str(known)


def test_a_status_is_found_inside_and_the_pause_with_it() -> None:
    class Answer:
        status, reason, headers = 503, "Busy", {"Retry-After": "17"}

    inner = networking.HTTPError(Answer())
    outer = yt_dlp.utils.DownloadError("ERROR: failed", (None, extractor_error("failed", cause=inner), None))
    known = classify(outer)
    assert isinstance(known, errors.ServerError)
    assert known.retry_after_s == 17
    assert classify(errors.TooLong("mine")).error_class == "too_long"
    assert "ZeroDivisionError: xyzzy" in str(classify(ZeroDivisionError("xyzzy")))


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s({"Retry-After": " 120 "}) == 120
    assert retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, now=1445412450) == 30
    assert retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None
