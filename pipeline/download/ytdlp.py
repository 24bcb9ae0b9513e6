"""Download one video with yt-dlp: the child's side, and the only place that imports yt-dlp. `fetch` is the parent's
side.

Adds what yt-dlp leaves to its caller: only the same file is resumed (`_Transfer`), only public addresses are requested
(`hosts.guard`), the pauses of a host are kept, and a download without a file is an error.
"""

import contextlib
import fcntl
import io
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg
import yt_dlp
from yt_dlp.downloader import get_suitable_downloader
from yt_dlp.downloader.http import HttpFD
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.version import __version__

from reelmill.pipeline import errors
from reelmill.pipeline.download import answers
from reelmill.pipeline.download.classify import classify, retry_after_s
from reelmill.pipeline.download.hosts import Refused, check_host, guard
from reelmill.pipeline.download.stored import DownloadJob, Fetched

DOWNLOADER = f"yt-dlp {__version__}"

MERGED = "mov,matroska,webm,mpegts,aac,mp3,ogg,flac,flv,avi,asf,wav"
"""Containers of streams that ffmpeg may merge: with a playlist or list of files in place of a stream it would read
other files of this machine."""


def download(job: DownloadJob) -> Iterator[Fetched]:
    """Fetch one video into its place. Raises a VideoError. Processes that fetch the same video take turns, and the
    second one finds the file of the first."""
    lock = _lock(job.place.partial)
    try:
        if (fetched := job.place.standing()) is not None:
            job.place.clear()
        else:
            fetched = _fetch(job)
    finally:
        os.close(lock)
    yield fetched


def _fetch(job: DownloadJob) -> Fetched:
    for last in (False, True):
        with _Ydl(job) as ydl:
            guard(None if job.options.allow_private_addresses else ydl.proxies)
            try:
                return ydl.fetch()
            except (Exception, Refused) as error:
                known = classify(error)
                # A signed media address may have run out while it was used; look it up again, once.
                expired = isinstance(known, errors.Forbidden) and ydl.transferring
                if last or not (expired or isinstance(known, _Changed)):
                    ydl.hold(known)
                    if known.permanent:
                        job.place.clear()
                    with contextlib.suppress(OSError):  # not empty: a partial file is kept for the next attempt
                        job.place.partial.rmdir()
                    raise known from None
    raise AssertionError("the last round returns or raises")


def _lock(folder: Path) -> int:
    """Make and lock a folder; return the descriptor that holds the lock, which the kernel releases when the process
    dies."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile by the process that held it before
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        os.close(descriptor)


class _Changed(errors.CutShort):
    """What was downloaded before belongs to another version of the file."""


class _Transfer:
    """The transfer of one file over HTTP. A note beside the partial file identifies its content by ETag, Last-Modified
    and size, since yt-dlp would append whatever the server sends to any partial file that it finds."""

    def __init__(self, file: Path) -> None:
        self.file, self.part = file, file.with_name(f"{file.name}.part")
        self.note = file.with_name(f"{file.name}.note")
        self.said: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            self.said = json.loads(self.note.read_text())
        if not self._identified():
            self.part.unlink(missing_ok=True)
        if not (file.exists() and file.stat().st_size == self.said.get("size")):
            file.unlink(missing_ok=True)

    def ask(self, request: Request) -> None:
        """Ask to resume only the same content; otherwise the server sends all of it."""
        etag = self.said.get("etag") or ""
        validator = etag if etag.startswith('"') else self.said.get("last_modified")
        if _range_start(request) and validator:
            request.headers["If-Range"] = validator

    def told(self, request: Request, response: Response) -> int | None:
        """Check an answer before its body is read; return the size of the whole file, if the server gives it."""
        headers = response.headers
        if headers.get("Content-Type", "").startswith("text/html"):
            raise errors.Unsupported("the server sent a web page in the place of the video")
        part_of = re.search(r"/(\d+)$", headers.get("Content-Range", "")) if response.status == 206 else None
        length = None if headers.get("Content-Encoding") or response.status == 206 else headers.get("Content-Length")
        size = int(part_of[1]) if part_of else int(length) if length else None
        said = {"etag": headers.get("ETag"), "last_modified": headers.get("Last-Modified"), "size": size}
        if response.status == 206 and _range_start(request):
            chunk = not request.headers["Range"].endswith("-")  # a piece of a file, asked for piece by piece
            if said != self.said or not (chunk or self._identified()):
                self.drop()
        else:
            self.part.unlink(missing_ok=True)  # before the note changes: they must not contradict each other
        self.said = said
        self.note.write_text(json.dumps(said))
        return size

    def drop(self) -> None:
        """Remove what was downloaded so far and start again."""
        self.part.unlink(missing_ok=True)
        raise _Changed("the file changed on the server while it was downloaded")

    def complete(self) -> None:
        """Check the finished file against the size that the server announced."""
        size, promised = self.file.stat().st_size, self.said.get("size")
        if promised is not None and size != promised:
            self.file.unlink()
            raise errors.CutShort(f"{size} of {promised} bytes arrived")

    def _identified(self) -> bool:
        return bool(self.said.get("etag") or self.said.get("last_modified"))


def _range_start(request: Request) -> int:
    found = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
    return int(found[1]) if found else 0


class _Ydl(yt_dlp.YoutubeDL):
    """yt-dlp for one video."""

    def __init__(self, job: DownloadJob) -> None:
        self.job, self.options = job, job.options
        self.transfer: _Transfer | None = None
        self.transferring = False
        """Whether the media itself is being requested, no longer the page that describes it."""
        self.asked_hosts = {urlsplit(job.url).hostname or ""}
        self.taken: dict[str, int] = {}
        super().__init__(_params(self))

    def fetch(self) -> Fetched:
        """Download, and put the file into its place."""
        info = self.extract_info(self.job.url) or {}
        written = (info.get("requested_downloads") or [{}])[0]
        file = Path(written.get("filepath") or "")
        if not file.is_file() or not file.stat().st_size:
            raise errors.Unsupported("yt-dlp ended without a file and without an error")
        if self.options.max_bytes is not None and file.stat().st_size > self.options.max_bytes:
            raise self.too_large(file.stat().st_size)
        return self.job.place.put(file, answers.columns(info), DOWNLOADER, written.get("format_id"))

    def hold(self, error: errors.VideoError) -> None:
        """Pause the hosts for which the text of a site, not a header, asked for it."""
        if isinstance(error, errors.RateLimited) and error.retry_after_s:
            for host in self.asked_hosts:
                self.job.pacer.hold(host, error.retry_after_s)

    def get_output_path(self, dir_type: str = "", filename: str | None = None) -> str:
        """Overridden because yt-dlp would expand a $ or ~ in the name of the folder."""
        return str(self.job.place.partial / (filename or ""))

    def process_ie_result(self, ie_result: Any, download: bool = True, extra_info: Any = None) -> Any:
        """A playlist is no video, unless it has one entry."""
        if ie_result.get("_type") in ("playlist", "multi_video", "compat_list"):
            entries = list(itertools.islice(filter(None, ie_result.get("entries") or ()), 2))
            if len(entries) != 1:
                raise errors.Unsupported("the address leads to a list of videos; give the address of one")
            ie_result = entries[0]
        return super().process_ie_result(ie_result, download, extra_info)

    def dl(self, name: str, info: dict[str, Any], subtitle: bool = False, test: bool = False) -> Any:
        """Download one file: the video, or one of the streams it is merged from."""
        self.transferring = True
        self.transfer = None
        if get_suitable_downloader(info, self.params) is HttpFD:
            self.transfer = _Transfer(Path(name))
        else:  # fragments: those of an earlier run may belong to another file
            for left in Path(name).parent.glob(f"{Path(name).name}*"):
                left.unlink()
        result = super().dl(name, info, subtitle, test)
        if self.transfer is not None and result[0]:
            self.transfer.complete()
        return result

    def urlopen(self, req: Request | str) -> Response:
        """Every request of yt-dlp: check scheme and pace before it, size and identity after it."""
        request = Request(req) if isinstance(req, str) else req
        host = self.check_address(request.url)
        self.asked_hosts.add(host)
        self.job.pacer.wait(host, self.options.max_wait_s)
        if self.transfer is not None:
            self.transfer.ask(request)
        try:
            response = super().urlopen(request)
        except HTTPError as error:
            if (pause := retry_after_s(error.response.headers)) is not None:
                self.job.pacer.hold(host, pause)
            if error.status == 416 and self.transfer is not None:
                self.transfer.drop()
            raise
        self.check_address(response.url)
        answers.bound(response)
        if self.transfer is not None:
            size = self.transfer.told(request, response)
            if size is not None and self.options.max_bytes is not None and size > self.options.max_bytes:
                raise self.too_large(size)
        return response

    def check_address(self, url: str) -> str:
        """The host of an address, if that may be requested. Raises Refused."""
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        if scheme not in (*self.options.schemes, "data"):  # a data: address contains its content
            raise Refused(errors.UnsafeUrl(f"it leads to an address of scheme {scheme!r}"))
        check_host(host, parts.port or (443 if scheme == "https" else 80))
        return host

    def check_size(self, status: dict[str, Any]) -> None:
        """Progress hook: checks the number of bytes, for servers that do not announce it."""
        self.taken[status.get("filename") or ""] = status.get("downloaded_bytes") or 0
        if self.options.max_bytes is not None and (total := sum(self.taken.values())) > self.options.max_bytes:
            raise self.too_large(total)

    def check_claims(self, info: dict[str, Any], *, incomplete: bool = False) -> None:
        """Match filter: checks what the page says before anything is downloaded."""
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
            raise errors.NotYet("a live broadcast, not over yet or not ready yet; run again when it is")
        duration, longest = info.get("duration"), self.options.max_duration_s
        if duration and longest is not None and duration > longest:
            raise errors.TooLong(f"the page says {duration:g} s, the limit is {longest:g} s")

    def too_large(self, size: int) -> errors.TooLarge:
        return errors.TooLarge(f"{size} bytes or more, the limit is {self.options.max_bytes}")


def _params(ydl: _Ydl) -> dict[str, Any]:
    options, silent = ydl.options, logging.Logger("yt-dlp")
    silent.addHandler(logging.NullHandler())

    def pause(n: int) -> float:
        return min(options.backoff_s * 2**n, 30.0)

    params: dict[str, Any] = {
        "quiet": True, "noprogress": True, "color": "never", "logger": silent, "cachedir": False,
        "format": options.selector(), "merge_output_format": "mp4/mkv", "noplaylist": True,
        "outtmpl": {"default": "media.%(ext)s"},
        "overwrites": True, "continuedl": True, "updatetime": False,
        "fixup": "never",  # it would need ffprobe; what it repairs (clocks of joined pieces), the decoder repairs
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "external_downloader": {"default": "native"},
        "postprocessor_args": {"merger+ffmpeg_i": ["-format_whitelist", MERGED, "-protocol_whitelist", "file"]},
        "socket_timeout": options.socket_timeout_s, "ratelimit": options.rate_limit_bytes,
        # Only to read the same answer again: attempts are made, and counted, by the Downloader.
        "retries": 1, "fragment_retries": 5, "extractor_retries": 1, "file_access_retries": 1,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor", "file_access"), pause),
        "concurrent_fragment_downloads": 1, "skip_unavailable_fragments": False,
        "proxy": options.proxy, "geo_bypass": False, "enable_file_urls": False,
        "progress_hooks": [ydl.check_size], "match_filter": ydl.check_claims,
    }  # fmt: skip
    if options.allowed_extractors is not None:
        params["allowed_extractors"] = list(options.allowed_extractors)
    if options.cookies_file:  # a stream: yt-dlp would write a file back at the end, from many processes
        params["cookiefile"] = io.StringIO(Path(options.cookies_file).read_text())
    return params
