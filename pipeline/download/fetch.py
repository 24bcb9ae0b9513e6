"""Fetch one video into a root: the parent's side of a download. `download` does the work in a process of its own.

    ROOT/media/<kk>/<key>.<ext>      a complete file; it is renamed into place last, so that what stands here is whole
    ROOT/media/<kk>/<key>.json       what is known of it: address asked for, hash, size, what the web page said
    ROOT/media/.partial/<key>/       a download on its way; resumed by the next attempt, or the next run
    ROOT/media/.hosts/               when each host may be asked again

`key` is the start of a hash of the video's id: ids, titles and addresses never become paths.

Of a root on an object store the same folder stands in the cache of this machine, to download into; a complete file then
goes to `ROOT/media`, its note first. So pauses per host are kept by all who download on one machine.
"""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from reelmill.pipeline import errors
from reelmill.pipeline.download.deliver import delivered, desk, standing
from reelmill.pipeline.download.hosts import HostPacer
from reelmill.pipeline.process.child import Child
from reelmill.pipeline.secrets import mask, redact, secrets_of
from reelmill.storage.errors import InputError
from reelmill.storage.parts import sync
from reelmill.storage.place import place


@dataclass(frozen=True)
class DownloadOptions:
    """How to download. Plain data; the defaults suit a polite run against public sites."""

    max_height: int = 360
    """Tallest picture taken when there is a choice; `format` overrides it."""
    format: str | None = None
    """A yt-dlp format selector instead of the built one."""
    max_bytes: int | None = 2 << 30
    max_seconds: float = 3600.0
    """Wall time for one video, all attempts and pauses together."""
    max_duration_s: float | None = None
    """Longest video taken, by what its page claims."""
    rate_limit_bytes: int | None = None
    """Bytes per second of one download."""
    per_host_interval_s: float = 0.0
    """Pause between two requests to the same host, over all downloads into a root."""
    attempts: int = 4
    backoff_s: float = 2.0
    """Pause before the second attempt, doubled for each further one, with jitter."""
    max_wait_s: float = 120.0
    """A host that asks for a longer pause is left to a later run."""
    socket_timeout_s: float = 20.0
    memory_bytes: int | None = 2 << 30
    """Private memory of the downloading process."""
    cookies_file: str | None = None
    """A Netscape cookie file; it is read, never written."""
    proxy: str | None = None
    """URL of a proxy, "" for none; by default the environment's (HTTPS_PROXY, …)."""
    schemes: tuple[str, ...] = ("http", "https")
    allow_private_addresses: bool = False
    """Let addresses of this machine and of private networks be asked. Only for sources that you wrote yourself."""
    allowed_extractors: tuple[str, ...] | None = None
    """Regular expressions over yt-dlp's extractor names; all by default."""
    allow_local: bool = True
    """Take a URL without a scheme as the path of a file on this machine. Turn it off for sources of others."""
    copy_local: bool = False
    """Copy local files into the root instead of using them where they are."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"download attempts {self.attempts}: at least 1 is needed")
        if self.cookies_file and not Path(self.cookies_file).is_file():
            raise InputError(f"cookies file {self.cookies_file!r} does not exist; export it from a browser again")

    def selector(self) -> str:
        """The yt-dlp format selector: H.264 with AAC up to `max_height` if there is, since every decoder is quick with
        it (the plain `bv*[height<=360]` would choose AV1); anything of that height; the smallest of what is left."""
        tall = f"[height<={self.max_height}]"
        return self.format or "/".join(
            (
                f"bv*{tall}[vcodec^=avc1]+ba[ext=m4a]",
                f"b{tall}[vcodec^=avc1]",
                f"bv*{tall}+ba",
                f"b{tall}",
                "wv*+ba",
                "w",
            )
        )


@dataclass(frozen=True)
class Fetched:
    """A complete file."""

    path: Path
    """Absolute."""
    sha256: str
    bytes: int
    info: dict[str, Any] = field(default_factory=dict)
    """Columns of `videos` that the web page filled: title, description, tags, categories, uploader, upload_date,
    claimed_duration_ms. Columns that it did not fill are left out."""
    downloader: str | None = None
    """Program and version; None for a local file."""
    format_id: str | None = None
    attempts: int = 1
    """How often it was tried in this call; 0 if it already stood there."""
    uri: str | None = None
    """Where in the root it was stored, if that is on an object store; `path` is then a copy."""


class Downloader:
    """Fetches videos one after another; use one per thread. Pauses between requests are shared through the root."""

    def __init__(
        self,
        root: str | Path,
        options: DownloadOptions | None = None,
        pacer: HostPacer | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """`stop`: set it, and call `interrupt`, to end a pause between two attempts as well."""
        self.stop = stop or threading.Event()
        self.options = options or DownloadOptions()
        home = place(root) / "media"
        self.remote = None if isinstance(home, Path) else home
        self.media = home.absolute() if isinstance(home, Path) else desk(home)
        self.pacer = pacer or HostPacer(str(self.media / ".hosts"), self.options.per_host_interval_s)
        self._child = Child("reelmill.pipeline.download.ytdlp:download", memory_bytes=self.options.memory_bytes)

    def fetch(self, video_id: str, url: str) -> Fetched:
        """Fetch a video, or find it standing. Raises an `errors.VideoError` whose `attempts` says how often it was
        tried; a permanent one is raised at once, a transient one after `options.attempts`, or earlier when the time
        for this video is over or the host asks for a longer pause than `options.max_wait_s`."""
        attempt, deadline = 0, time.monotonic() + self.options.max_seconds
        try:
            if (path := self._local(url)) is not None:
                return self._take_local(video_id, path)
            where = Place.of(self.media, video_id, url, self.options)
            if (found := standing(where, self.remote)) is not None:
                return found
            while True:
                attempt += 1
                try:
                    fetched = self._download(where, url, deadline)
                    return delivered(where, dataclasses.replace(fetched, attempts=attempt), self.remote)
                except errors.Transient as error:
                    pause = self._pause(attempt, error)
                    longest = min(self.options.max_wait_s, deadline - time.monotonic())
                    if attempt >= self.options.attempts or pause > longest or self.stop.wait(pause):
                        raise
        except errors.VideoError as error:
            error.attempts = max(attempt, 1)
            secrets = secrets_of(url, self.options.proxy, self.options.cookies_file)
            error.args = (mask(redact(str(error)), secrets),)  # also what a process that died said last
            raise

    def interrupt(self) -> None:
        """For another thread: end the download that is under way, with an error; its part stays."""
        self._child.interrupt()

    def close(self) -> None:
        """End the downloading process."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _download(self, where: "Place", url: str, deadline: float) -> Fetched:
        job = DownloadJob(where, url, self.options, self.pacer)
        try:
            (fetched,) = self._child.run(job, max(deadline - time.monotonic(), 0))
        except errors.TimedOut:
            limit = self.options.max_seconds
            raise errors.TimedOut(
                f"the download took longer than its limit of {limit:g} s, all attempts together"
            ) from None
        return fetched

    def _pause(self, attempt: int, error: errors.VideoError) -> float:
        """Seconds before the next attempt: at least what the server asked for, jittered so that many do not come back
        at the same moment."""
        pause = self.options.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        return max(pause, (error.retry_after_s or 0) * random.uniform(1.0, 1.1))

    def _local(self, url: str) -> Path | None:
        """The path that `url` means, None if it is an address to download. UnsafeUrl if it is neither."""
        try:
            scheme = urlsplit(url).scheme.lower()
        except ValueError as error:
            raise errors.Unsupported(f"not an address: {error}") from None
        if scheme in self.options.schemes:
            return None
        if "://" in url or scheme == "file":
            raise errors.UnsafeUrl(
                f"addresses of scheme {scheme!r} are not downloaded, only {', '.join(self.options.schemes)}"
            )
        if not self.options.allow_local:
            raise errors.UnsafeUrl(f"{url!r} has no scheme, and local files are not allowed here")
        return Path(url).absolute()

    def _take_local(self, video_id: str, path: Path) -> Fetched:
        try:
            found, folder = path.is_file(), path.is_dir()
        except OSError:  # a name that is too long
            found = folder = False
        if not found:
            what = "is a folder, not a video file" if folder else "does not exist"
            raise errors.NotFound(f"{path} {what}; for a web address write https:// in front of it")
        if not self.options.copy_local:
            return Fetched(path, *digest(path))
        where = Place.of(self.media, video_id, str(path), self.options)
        if (earlier := standing(where, self.remote)) is not None:
            return earlier
        where.partial.mkdir(parents=True, exist_ok=True)
        copy = where.partial / f"copy{path.suffix}"
        shutil.copyfile(path, copy)
        return delivered(where, where.put(copy, {}, None, None), self.remote)


@dataclass(frozen=True)
class Place:
    """Where a video's file stands, or will stand."""

    media: Path
    key: str
    asked: str
    """Hash of what was asked for: address and format."""

    @classmethod
    def of(cls, media: Path, video_id: str, url: str, options: DownloadOptions) -> "Place":
        """The place of a video in a root's media folder."""
        key = hashlib.sha256(video_id.encode(errors="surrogatepass")).hexdigest()[:16]
        question = json.dumps([url, options.selector()])
        return cls(media, key, hashlib.sha256(question.encode()).hexdigest()[:16])

    @property
    def folder(self) -> Path:
        """Where the complete file stands."""
        return self.media / self.key[:2]

    @property
    def partial(self) -> Path:
        """Where it stands while it is on its way."""
        return self.media / ".partial" / self.key

    @property
    def note(self) -> Path:
        """What is known of the complete file."""
        return self.folder / f"{self.key}.json"

    def standing(self) -> Fetched | None:
        """The file, if an earlier run completed it for the same question and it is still whole."""
        try:
            note = json.loads(self.note.read_text())
            return self.noted(note, self.folder / note["file"])
        except (OSError, ValueError, KeyError):
            return None

    def noted(self, note: dict[str, Any], path: Path) -> Fetched | None:
        """A file with what its note says of it, if it answers the same question and is still whole. Raises OSError, and
        KeyError for a note of something else."""
        if note["asked"] != self.asked or digest(path) != (note["sha256"], note["bytes"]):
            return None
        return Fetched(path, note["sha256"], note["bytes"], note["info"], note["downloader"], note["format_id"], 0)

    def put(self, file: Path, info: dict[str, Any], downloader: str | None, format_id: str | None) -> Fetched:
        """Move a complete file of the partial folder here; the rename comes last. A note without its file, or with an
        older one, does no harm: the hash tells."""
        suffix = file.suffix if file.suffix[1:].isalnum() and len(file.suffix) <= 8 else ".bin"
        path = self.folder / f"{self.key}{suffix}"
        sha256, size = digest(file)
        note = {"file": path.name, "asked": self.asked, "sha256": sha256, "bytes": size,
                "info": info, "downloader": downloader, "format_id": format_id}  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.partial / "note.json"
        draft.write_text(json.dumps(note))
        for written in (file, draft):
            sync(written)
        draft.replace(self.note)
        file.replace(path)
        sync(self.folder)
        self.clear()
        return Fetched(path, sha256, size, info, downloader, format_id)

    def clear(self) -> None:
        """Forget what is on its way."""
        shutil.rmtree(self.partial, ignore_errors=True)


@dataclass(frozen=True)
class DownloadJob:
    """What the downloading process is asked."""

    place: Place
    url: str
    options: DownloadOptions
    pacer: HostPacer


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
