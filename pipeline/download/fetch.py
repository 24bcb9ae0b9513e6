"""Fetch one video into a root: the parent's side of a download. `ytdlp` does the work in a process of its own.

`stored` says where the file goes. For a root on an object store the same folder is in the cache of this machine, to
download into; a complete file then goes to `ROOT/media`, its note first (`deliver`). `ROOT/media/.hosts/` holds when
each host may be asked again; on an object store that is in the cache too, so all downloads of one machine share it.
"""

import dataclasses
import random
import shutil
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from reelmill.pipeline import errors
from reelmill.pipeline.download.breaker import HostBreaker
from reelmill.pipeline.download.deliver import delivered, desk, standing
from reelmill.pipeline.download.hosts import HostPacer
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.download.stored import DownloadJob, Fetched, Place
from reelmill.pipeline.media import digest
from reelmill.pipeline.process.child import Child
from reelmill.pipeline.secrets import mask, redact, secrets_of
from reelmill.storage.place import AnyRoot, place


def hosts_folder(root: AnyRoot) -> Path:
    """Where this machine keeps what it knows of the hosts that it downloads from into a root."""
    return _media_here(root) / ".hosts"


def _media_here(root: AnyRoot) -> Path:
    home = place(root) / "media"
    return home.absolute() if isinstance(home, Path) else desk(home)


class Downloader:
    """Fetches videos one after another; use one per thread. Pauses between requests are shared through the root."""

    def __init__(
        self,
        root: AnyRoot,
        options: DownloadOptions | None = None,
        pacer: HostPacer | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """`stop`: an event that ends a pause between two attempts; to end a download, call `interrupt` too.

        Raises InputError if the file of cookies does not exist."""
        self.stop = stop or threading.Event()
        self.options = options or DownloadOptions()
        self.options.check_files()
        home = place(root) / "media"
        self.remote = None if isinstance(home, Path) else home
        self.media = _media_here(root)
        self.pacer = pacer or HostPacer(str(hosts_folder(root)), self.options.per_host_interval_s)
        self.breaker = HostBreaker(self.pacer.folder)
        self._child = Child("reelmill.pipeline.download.ytdlp:download", memory_bytes=self.options.memory_bytes)

    def fetch(self, video_id: str, url: str) -> Fetched:
        """Fetch a video, or find the complete file of an earlier run. Raises a VideoError with the number of
        `attempts`: a permanent one at once, a transient one after `options.attempts`, or earlier when the time for this
        video is over or the host asks for a longer pause than `options.max_wait_s`; HostPaused, without a request, for
        a host that refused many videos in a row."""
        attempt, deadline = 0, time.monotonic() + self.options.max_seconds
        try:
            if (path := self._local(url)) is not None:
                return self._take_local(video_id, path)
            where = Place.of(self.media, video_id, url, self.options)
            if (found := standing(where, self.remote)) is not None:
                return found
            host = urlsplit(url).hostname or ""
            self.breaker.check(host)
            while True:
                attempt += 1
                try:
                    fetched = self._download(where, url, deadline)
                    self.breaker.record(host, None)
                    return delivered(where, dataclasses.replace(fetched, attempts=attempt), self.remote)
                except errors.VideoError as error:
                    if not self._again(attempt, error, deadline):
                        self.breaker.record(host, error)
                        raise
        except errors.VideoError as error:
            error.attempts = max(attempt, 1)
            secrets = secrets_of(url, self.options.proxy, self.options.cookies_file)
            error.args = (mask(redact(str(error)), secrets),)  # also the last output of a process that died
            raise

    def interrupt(self) -> None:
        """End the current download with an error; for another thread. What was downloaded so far is kept."""
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

    def _download(self, where: Place, url: str, deadline: float) -> Fetched:
        job = DownloadJob(where, url, self.options, self.pacer)
        try:
            (fetched,) = self._child.run(job, max(deadline - time.monotonic(), 0))
        except errors.TimedOut:
            limit = self.options.max_seconds
            raise errors.TimedOut(
                f"the download took longer than its limit of {limit:g} s, all attempts together"
            ) from None
        return fetched

    def _again(self, attempt: int, error: errors.VideoError, deadline: float) -> bool:
        """Wait for the next attempt; False if there is none."""
        if not isinstance(error, errors.Transient):
            return False
        pause = self._pause(attempt, error)
        longest = min(self.options.max_wait_s, deadline - time.monotonic())
        return attempt < self.options.attempts and pause <= longest and not self.stop.wait(pause)

    def _pause(self, attempt: int, error: errors.VideoError) -> float:
        """Seconds before the next attempt: at least what the server asked for, with jitter, so that many clients do not
        come back at the same moment."""
        pause = self.options.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        return max(pause, (error.retry_after_s or 0) * random.uniform(1.0, 1.1))

    def _local(self, url: str) -> Path | None:
        """The local path that `url` means; None if it is an address to download. Raises UnsafeUrl if it is neither."""
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), parts.hostname
        except ValueError as error:
            raise errors.Unsupported(f"not an address: {error}") from None
        if scheme in self.options.schemes:
            if not host:
                raise errors.Unsupported(f"not an address: {url!r} names no host")
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
        except OSError:  # such as a name that is too long
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
