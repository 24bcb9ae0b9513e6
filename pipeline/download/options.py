"""Options of a download."""

from dataclasses import dataclass
from pathlib import Path

from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class DownloadOptions:
    """How to download. Plain data; the defaults suit a polite run against public sites."""

    max_height: int = 360
    """Largest height in pixels if there is a choice; `format` overrides it."""
    format: str | None = None
    """A format selector of yt-dlp instead of `selector`."""
    max_bytes: int | None = 2 << 30
    max_seconds: float = 3600.0
    """Longest time for one video, all attempts and pauses together."""
    max_duration_s: float | None = None
    """Longest video, by the duration that its page claims."""
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
    """Most private memory of the downloading process."""
    cookies_file: str | None = None
    """A Netscape cookie file; it is read, never written."""
    proxy: str | None = None
    """URL of a proxy, "" for none; by default that of the environment (HTTPS_PROXY, …)."""
    schemes: tuple[str, ...] = ("http", "https")
    allow_private_addresses: bool = False
    """Allow addresses of this machine and of private networks. Only for sources that you wrote yourself."""
    allowed_extractors: tuple[str, ...] | None = None
    """Regular expressions over yt-dlp's extractor names; all by default."""
    allow_local: bool = True
    """Treat a URL without a scheme as the path of a local file. Turn it off for sources that others wrote."""
    copy_local: bool = False
    """Copy local files into the root instead of using them where they are."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"download attempts {self.attempts}: at least 1 is needed")
        if self.cookies_file and not Path(self.cookies_file).is_file():
            raise InputError(f"cookies file {self.cookies_file!r} does not exist; export it from a browser again")

    def selector(self) -> str:
        """The yt-dlp format selector: H.264 with AAC up to `max_height` if available, since every decoder is fast
        with it (`bv*[height<=360]` would choose AV1); else anything of that height; else the smallest."""
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
