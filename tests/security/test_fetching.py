"""What is fetched, from where, and how much of it: hostile addresses, servers and playlists against the real downloader
on the loopback."""

import gzip
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reelmill.pipeline import errors
from reelmill.pipeline.download.fetch import Downloader
from reelmill.pipeline.download.hosts import address_of, is_public
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.download.stored import Place
from reelmill.pipeline.process.child import Child
from tests.media import make_video
from tests.servers import World, misbehaving

OPEN = DownloadOptions(
    allow_private_addresses=True,
    proxy="",
    backoff_s=0.02,
    socket_timeout_s=5,
    max_seconds=60,
    attempts=1,
    per_host_interval_s=0,
)
GUARDED = replace(OPEN, allow_private_addresses=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", frames=5).read_bytes()


@pytest.fixture
def world(video: bytes) -> World:
    return World(media=video)


@pytest.fixture
def base(world: World) -> Iterator[str]:
    with misbehaving(world) as base:
        yield base


@pytest.fixture(scope="module")
def process() -> Iterator[Child]:
    with Child("reelmill.pipeline.download.ytdlp:download", memory_bytes=OPEN.memory_bytes) as child:
        yield child


def make(process: Child, root: Path, options: DownloadOptions) -> Downloader:
    downloader = Downloader(root, options)
    downloader._child = process
    return downloader


def below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".hosts" not in p.parts)


# Addresses


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("example.org", None),
        ("1e100.net", None),
        ("a b\0", None),
    ],
)
def test_an_address_is_known_in_every_spelling(written: str, address: str | None) -> None:
    assert address_of(written) == address


@pytest.mark.parametrize(
    "address",
    ["::127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "fec0::1",
     "5f00::1", "2001:0:0:0:0:0:80ff:fffe", "2002:a00:1::", "ff02::1", "0.1.2.3", "192.168.1.1", "198.18.0.1"],
)  # fmt: skip
def test_what_stands_for_an_inner_address_is_none_of_the_internet(address: str) -> None:
    assert not is_public(address)


HERE = ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", HERE)
def test_no_spelling_of_this_machine_is_asked(
    process: Child, tmp_path: Path, world: World, base: str, host: str
) -> None:
    url = base.replace("127.0.0.1", host) + "/good/x.mp4"
    with pytest.raises(errors.UnsafeUrl, match="not an address of the open internet"):
        make(process, tmp_path, GUARDED).fetch("v", url)
    assert not world.requests
    assert not below(tmp_path)


def test_a_name_that_resolves_inside_is_not_asked(process: Child, tmp_path: Path, world: World) -> None:
    """Known only after the name was looked up."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("the name of this machine does not resolve")
    if is_public(address):
        pytest.skip("this machine is on the open internet")
    with misbehaving(world, address) as base:
        url = base.replace(address, name) + "/good/x.mp4"
        with pytest.raises(errors.UnsafeUrl, match=re.escape(address)):
            make(process, tmp_path, GUARDED).fetch("v", url)
        assert not world.requests
        assert make(process, tmp_path, OPEN).fetch("v", url).bytes == len(world.media)  # it would have answered


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "[::1]", "10.0.0.7", "metadata.google.internal", "nas.local", "localhost"]
)
def test_a_proxy_is_not_sent_inside(process: Child, tmp_path: Path, world: World, base: str, host: str) -> None:
    """Its connections are its own, so what can be told from the address alone is refused before."""
    proxied = make(process, tmp_path, replace(GUARDED, proxy=base))
    with pytest.raises(errors.UnsafeUrl, match="not an address of the open internet"):
        proxied.fetch("v", f"http://{host}/good/x.mp4")
    assert not world.requests
    assert proxied.fetch("w", "http://example.org/good/x.mp4").bytes == len(world.media)  # as the proxy answers


def test_the_machine_of_a_proxy_is_no_way_in(
    tmp_path: Path, world: World, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the proxy's own port may be asked there."""
    monkeypatch.setenv("http_proxy", base)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    inside = World(media=world.media)
    with misbehaving(inside) as canary, Downloader(tmp_path, replace(GUARDED, proxy=None)) as downloader:
        with pytest.raises(errors.UnsafeUrl):
            downloader.fetch("v", f"{canary}/good/x.mp4")
        assert not inside.requests


# Playlists


MPEGURL = "application/vnd.apple.mpegurl"


def playlist(*lines: str) -> tuple[str, bytes]:
    head = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-VERSION:6")
    return MPEGURL, "\n".join([*head, *lines, "#EXT-X-ENDLIST", ""]).encode()


def manifest(address: str, before: str = "") -> tuple[str, bytes]:
    text = (
        f'<?xml version="1.0"?>{before}<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="v" '
        f'bandwidth="9" codecs="avc1.64000d" width="320" height="240"><BaseURL>{address}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    return "application/dash+xml", text.encode()


KINDS = {
    "segment": lambda url: playlist("#EXTINF:1,", url),
    "key": lambda url: playlist(f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"', "#EXTINF:1,", "/good/x.ts"),
    "map": lambda url: playlist(f'#EXT-X-MAP:URI="{url}"', "#EXTINF:1,", "/good/x.mp4"),
    "variant": lambda url: (MPEGURL, f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{url}\n".encode()),
    "dash": manifest,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_playlist_does_not_reach_local_files(
    process: Child, tmp_path: Path, world: World, base: str, kind: str
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(world.media)
    name = "/p/list.mpd" if kind == "dash" else "/p/list.m3u8"
    world.files[name] = KINDS[kind](f"file://{secret}")
    downloader = make(process, tmp_path / "root", OPEN)
    with pytest.raises(errors.Removed if kind == "dash" else errors.UnsafeUrl):  # there it is taken for a relative one
        downloader.fetch("v", base + name)
    assert not any(secret.read_bytes() in p.read_bytes() for p in downloader.media.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_a_playlist_does_not_lead_inside(process: Child, tmp_path: Path, world: World, base: str, kind: str) -> None:
    """The list comes from an address that may be asked (as a proxy may), its parts from one that may not."""
    inside = World(media=world.media)
    with misbehaving(inside, "127.0.0.2") as canary:
        name = "/p/list.mpd" if kind == "dash" else "/p/list.m3u8"
        world.files[name] = KINDS[kind](f"{canary}/good/x.mp4")
        with pytest.raises(errors.UnsafeUrl, match=r"127\.0\.0\.2"):
            make(process, tmp_path, replace(GUARDED, proxy=base)).fetch("v", f"http://example.org{name}")
        assert not inside.requests


def test_a_list_of_files_is_not_merged_as_a_stream(process: Child, tmp_path: Path, world: World, base: str) -> None:
    """ffmpeg merges picture and sound; of a list of files in place of a stream it would read what the list names."""
    downloader = make(process, tmp_path, OPEN)
    streams = "".join(
        f'<AdaptationSet mimeType="{kind}/mp4"><Representation id="{kind[0]}" bandwidth="9" codecs="{codec}" {size}>'
        f"<BaseURL>{kind}.mp4</BaseURL></Representation></AdaptationSet>"
        for kind, codec, size in (("video", "avc1.64000d", 'width="320" height="240"'), ("audio", "mp4a.40.2", ""))
    )
    head = '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period>'
    world.files["/d/all.mpd"] = ("application/dash+xml", f"{head}{streams}</Period></MPD>".encode())
    make_video(tmp_path / "secret.mp4", frames=5, sound=True)
    for kind in ("video", "audio"):
        world.files[f"/d/{kind}.mp4"] = ("video/mp4", b"ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(errors.Removed):
        downloader.fetch("v", f"{base}/404/x.mp4")
    partial = Path(str(downloader.media)) / ".partial" / "4c94485e0c21ae6c"  # where the streams of `v` come to stand
    partial.mkdir(parents=True)
    (tmp_path / "secret.mp4").rename(partial / "secret.mp4")
    with pytest.raises(errors.Corrupt):
        downloader.fetch("v", f"{base}/d/all.mpd")
    assert not [name for name in below(tmp_path) if name.endswith((".mp4", ".mkv")) and ".partial" not in name]


# Sizes


def laughs(times: int = 9) -> str:
    lines = ['<!ENTITY a "aaaaaaaaaa">'] + [
        f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(times)
    ]
    return f"<!DOCTYPE MPD [{''.join(lines)}]>"


def test_a_manifest_does_not_expand_without_end(process: Child, tmp_path: Path, world: World, base: str) -> None:
    (tmp_path / "secret").write_text("/good/x.mp4")
    outside = f'<!DOCTYPE MPD [<!ENTITY j SYSTEM "file://{tmp_path}/secret">]>'
    for number, before in enumerate((laughs(), outside)):
        world.files[f"/{number}.mpd"] = manifest("&j;", before)
        began = time.monotonic()
        with pytest.raises(errors.VideoError) as caught:
            make(process, tmp_path, OPEN).fetch("v", f"{base}/{number}.mpd")
        assert caught.value.error_class not in ("timed_out", "decoder_crash", "killed")
        assert time.monotonic() - began < 20
    assert not world.hits("/good/x.mp4")


@pytest.mark.parametrize("kind", ["page", "packed page", "packed playlist"])
def test_a_page_that_does_not_end_is_left(process: Child, tmp_path: Path, world: World, base: str, kind: str) -> None:
    body, mime, name = b"<html>" + b"<a href='x'>" * 5_000_000, "text/html", "/page"
    if kind == "packed playlist":
        body, mime, name = b"#EXTM3U\n" + b"#EXTINF:1,\nx\n" * 5_000_000, MPEGURL, "/list.m3u8"
    world.files[name] = (mime, gzip.compress(body, 1) if "packed" in kind else body)
    world.packed = "packed" in kind
    began = time.monotonic()
    with pytest.raises(errors.Unsupported, match="more than 32 MiB"):
        make(process, tmp_path, OPEN).fetch("v", base + name)
    assert time.monotonic() - began < 20


# Names


IDS = [
    "../../../../tmp/x",
    "/etc/passwd",
    "..",
    "a\0b",
    "x" * 5000,
    "CON",
    "-rf",
    "--output=/tmp/x",
    "~/.bashrc",
    "$HOME",
    "%(title)s",
    "a\nb\x1b[2J",
    "\u202egpj.exe",
    "🎬" * 200,
    "C:\\x",
    "",
]


def test_ids_never_become_paths(process: Child, tmp_path: Path, world: World, base: str) -> None:
    downloader = make(process, tmp_path / "root", OPEN)
    places = {Place.of(downloader.media, video_id, "u", OPEN).note for video_id in IDS}
    assert len(places) == len(IDS)
    assert all(place.is_relative_to(downloader.media) and len(str(place)) < 300 for place in places)
    for video_id in IDS[:5]:
        assert downloader.fetch(video_id, f"{base}/good/x.mp4").path.with_suffix(".json") in places
    assert all(re.fullmatch(r"root/media/([0-9a-f]{2})/\1[0-9a-f]{14}\.(mp4|json)", name) for name in below(tmp_path))


def test_titles_and_names_of_servers_never_become_paths(
    process: Child, tmp_path: Path, world: World, base: str
) -> None:
    title = "../../../../../tmp/" + "\u202e-x" * 400
    world.headers = {
        "Content-Disposition": "attachment; filename=\"../../../evil.sh\"; filename*=UTF-8''..%2f..%2fevil"
    }
    page = f"<html><head><title>{title}</title></head><video src='/good/..%2f..%2fx.mp4'></video></html>"
    world.files["/page"] = ("text/html", page.encode())
    downloader = make(process, tmp_path / "root", OPEN)
    downloader.fetch("v", f"{base}/page")
    downloader.fetch("w", f"{base}/good/..%2f..%2f..%2fx.mp4")
    assert all(re.fullmatch(r"root/media/([0-9a-f]{2})/\1[0-9a-f]{14}\.(mp4|json)", name) for name in below(tmp_path))
    assert len(below(tmp_path)) == 4
