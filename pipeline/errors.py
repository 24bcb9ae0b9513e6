"""Why a video could not be processed: one class for each reason, which says whether trying again can help.

    VideoError
    ├── permanent ── Private, Removed, GeoBlocked, AgeRestricted, Unsupported, UnsafeUrl,
    │                TooLarge, TooLong, TooManyPixels, NotFound, Corrupt, NoVideoStream, DecoderCrash
    ├── transient ── Network, ServerError, RateLimited, TimedOut, CutShort, OutOfSpace, Killed
    └── left to a later run ── Forbidden, FormatUnavailable (often the state of the host, not of the video),
                               AccessDenied (one object of an object store),
                               HostPaused, NotYet (live or announced), ExtractorFailed,
                               Changed (another media file than before)

`error_class` is the value in the table `outcomes`. Any other exception is recorded as `unknown` with its traceback.
"""

from reelmill.storage.errors import ReelmillError


class VideoError(ReelmillError):
    """A video could not be processed; the others are not affected."""

    error_class = "unknown"
    permanent = False
    retry_after_s: float | None = None
    """Seconds that the server asked to wait, if it did."""
    attempts = 1
    """Number of attempts."""


class Permanent(VideoError):
    """Trying again cannot help."""

    permanent = True


class Transient(VideoError):
    """Trying again may help."""


class Private(Permanent):
    """It is private, or needs a login that was not given."""

    error_class = "private"


class Removed(Permanent):
    """It is gone: 404, 410, 451, or taken down."""

    error_class = "removed"


class GeoBlocked(Permanent):
    """Not offered in this country."""

    error_class = "geo_blocked"


class AgeRestricted(Permanent):
    """Needs a confirmed age."""

    error_class = "age_restricted"


class Unsupported(Permanent):
    """No extractor takes the URL, the page holds no video, or the format is not on the list."""

    error_class = "unsupported"


class UnsafeUrl(Permanent):
    """A scheme or address that must not be fetched."""

    error_class = "unsafe_url"


class TooLarge(Permanent):
    """More bytes than the limit."""

    error_class = "too_large"


class TooLong(Permanent):
    """Longer, or more frames, than the limit."""

    error_class = "too_long"


class TooManyPixels(Permanent):
    """More pixels per frame than the limit."""

    error_class = "too_many_pixels"


class NotFound(Permanent):
    """A local file that does not exist."""

    error_class = "not_found"


class Corrupt(Permanent):
    """Not a media file, or no frame of it can be decoded."""

    error_class = "corrupt"


class NoVideoStream(Permanent):
    """The file has sound only."""

    error_class = "no_video_stream"


class DecoderCrash(Permanent):
    """The decoder's process died by itself (a signal, or out of its memory limit)."""

    error_class = "decoder_crash"


class Network(Transient):
    """Connection refused, reset, DNS."""

    error_class = "network"


class ServerError(Transient):
    """5xx."""

    error_class = "server_error"


class RateLimited(Transient):
    """429, or a request to prove that the client is no robot."""

    error_class = "rate_limited"


class TimedOut(Transient):
    """Longer than the time limit."""

    error_class = "timed_out"


class CutShort(Transient):
    """Fewer bytes arrived than the server announced."""

    error_class = "cut_short"


class Changed(VideoError):
    """The file is gone, or is no longer the one that was measured."""

    error_class = "changed"


class Forbidden(VideoError):
    """401 or 403 without a known reason, or a log-in that failed: often the host refuses this machine for a while, not
    this video."""

    error_class = "forbidden"


class AccessDenied(VideoError):
    """An object store refuses this object, and says nothing of others: it is private, its signature has expired, or it
    does not exist."""

    error_class = "access_denied"


class FormatUnavailable(VideoError):
    """The site offers no format, or none that was asked for: often it withholds them from this machine for a while."""

    error_class = "format_unavailable"


class HostPaused(VideoError):
    """The host refused many videos in a row, so this one was not asked for."""

    error_class = "host_paused"


class ExtractorFailed(VideoError):
    """yt-dlp does not understand the answer of the site, which may have changed; a newer yt-dlp may."""

    error_class = "extractor_failed"


class NotYet(VideoError):
    """Live now, or announced for later: a later run may succeed, an attempt at once will not."""

    error_class = "not_yet"


class OutOfSpace(Transient):
    """No space on the disk."""

    error_class = "out_of_space"


class Killed(Transient):
    """The decoder's process was killed from outside: by the system, which was out of memory, or by a user."""

    error_class = "killed"


def _leaves(cls: type[VideoError]) -> list[type[VideoError]]:
    return [leaf for sub in cls.__subclasses__() for leaf in (_leaves(sub) or [sub])]


BY_CLASS: dict[str, type[VideoError]] = {leaf.error_class: leaf for leaf in _leaves(VideoError)}
"""Every error class by its `error_class`, to rebuild an error that a child process has sent."""
