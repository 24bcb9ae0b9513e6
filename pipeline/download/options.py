"""Options of downloads: the section `download` of the settings is this class."""

from dataclasses import dataclass, field
from pathlib import Path

from reelmill.storage.errors import InputError

ABOVE_ZERO = ("max_height", "max_bytes", "max_seconds", "workers", "attempts", "socket_timeout_s", "memory_bytes")
NOT_NEGATIVE = ("backoff_s", "max_wait_s", "per_host_interval_s")
NUMBERS = (*ABOVE_ZERO, *NOT_NEGATIVE, "max_duration_s", "rate_limit_bytes")
MOST_WORKERS = 64


@dataclass(frozen=True)
class DownloadOptions:
    """How videos are downloaded with yt-dlp. Plain data: the downloading process gets it as it is."""

    max_height: int = 360
    """Maximum height in pixels. No network has an input that gains from more."""
    format: str | None = None
    """A yt-dlp format selector. By default: H.264 with AAC up to max_height, or the nearest to it."""
    max_bytes: int | None = 2 << 30
    """Maximum size of a file, in bytes."""
    max_duration_s: float | None = None
    """Maximum length of a video, as its page states it, in seconds."""
    max_seconds: float = 1800.0
    """Maximum time for one video, including all tries and pauses, in seconds."""
    workers: int = 4
    """Number of parallel downloads."""
    attempts: int = 4
    """Number of tries if a failure is transient (network, 5xx, rate limit), with growing pauses."""
    backoff_s: float = 2.0
    """Pause before the second try in seconds, doubled before each further one."""
    max_wait_s: float = 120.0
    """If a host asks for a longer pause (in seconds), its videos are left to the next run."""
    socket_timeout_s: float = 20.0
    """Maximum time without data on a connection, in seconds."""
    per_host_interval_s: float = 1.0
    """Minimum time between two requests to one host, over all downloads into the root, in seconds."""
    rate_limit_bytes: int | None = None
    """Maximum rate of each download, in bytes per second."""
    cookies_file: Path | None = None
    """File of cookies in Netscape format, for videos that need a login. It is read, never written."""
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    """Address of a proxy; its password is never shown. Without it, HTTPS_PROXY and the like are used; "" is none."""
    allow_private_addresses: bool = False
    """Also download from loopback and private networks. Off, because a redirect could reach into yours."""
    schemes: tuple[str, ...] = ("http", "https")
    """URL schemes that may be downloaded."""
    allowed_extractors: tuple[str, ...] | None = None
    """Regular expressions for the names of yt-dlp's extractors that may be used, such as [youtube]; by default all."""
    allow_local: bool = True
    """Read an address without a scheme as a file on this machine. Turn it off for tables that others wrote."""
    copy_local: bool = False
    """Copy local files into the root, instead of reading them where they are."""
    memory_bytes: int | None = 2 << 30
    """Maximum memory of a download process, in bytes."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of its bounds."""
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not value > 0:  # also NaN
                raise InputError(f"{name} {value}: must be above 0")
        for name in NOT_NEGATIVE:
            if not (value := getattr(self, name)) >= 0:
                raise InputError(f"{name} {value}: must not be negative; 0 is no pause")
        if self.workers > MOST_WORKERS:
            raise InputError(f"workers {self.workers}: must be at most {MOST_WORKERS}")
        for name in NUMBERS:
            if (value := getattr(self, name)) is not None and not abs(value) < 1 << 63:  # also NaN
                raise InputError(f"{name} {value}: must be a finite number of at most 63 bits")

    def check_files(self) -> None:
        """Raise InputError if a file that the options name does not exist."""
        if self.cookies_file is not None and not self.cookies_file.is_file():
            raise InputError(
                f"cookies file {self.cookies_file} does not exist; export it from a browser again, or correct "
                "download.cookies_file"
            )

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
