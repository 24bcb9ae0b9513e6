"""Why a download failed: maps what yt-dlp raised to one class of `errors`.

The type of an error of yt-dlp says little and its text much, and the cause is wrapped up to four times. So the whole
chain is searched, in this order: the text of the site, the HTTP status, the type, the text of the transport (`words`
holds the texts). Types are matched by name; a test checks the names against the installed yt-dlp.
"""

import re
import time
import traceback
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from reelmill.pipeline import errors
from reelmill.pipeline.download import words
from reelmill.pipeline.download.hosts import Refused
from reelmill.pipeline.secrets import redact

ROBOT_PAUSE_S = 3600.0
"""Pause for a host that takes the client for a robot; such a ban is lifted within about an hour."""

MESSAGE_LENGTH = 1500

PLEASE_REPORT = "please report this issue"
"""yt-dlp's words after an error that its extractor did not expect."""

OBJECT_STORES = ("x-amz-request-id", "x-amz-id-2", "x-goog-", "x-guploader-", "x-ms-request-id", "x-oss-request-id")
"""Headers, or their beginnings, of S3 and its like, and of Google's, Azure's and Alibaba's stores. Their 403 is of one
object, where that of a site is often of the machine that asks."""

TYPES: dict[str, type[errors.VideoError]] = {
    "GeoRestrictedError": errors.GeoBlocked,
    "UnsupportedError": errors.Unsupported,
    "UnsupportedRequest": errors.Unsupported,
    "NoSupportingHandlers": errors.Unsupported,
    "_UnsafeExtensionError": errors.Unsupported,
    "EntryNotInPlaylist": errors.Unsupported,
    "SameFileError": errors.Unsupported,
    "DownloadCancelled": errors.Unsupported,
    "CookieLoadError": errors.Forbidden,
    "PostProcessingError": errors.Corrupt,
    "ContentTooShortError": errors.CutShort,
    "IncompleteRead": errors.CutShort,
    "ReExtractInfo": errors.Network,
    "TransportError": errors.Network,
    "ConnectionError": errors.Network,
    "TimeoutError": errors.Network,
    "gaierror": errors.Network,
}
"""Classes by the name of the type, or of one of its bases."""


def classify(error: BaseException) -> errors.VideoError:
    """The VideoError that says why this error was raised; a VideoError is returned as it is. An error that is not
    recognised becomes a plain VideoError (`unknown`): one of yt-dlp with its message, others with a traceback."""
    if isinstance(error, Refused):
        return error.error
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, errors.VideoError):
            return link
    text = tidy(str(error))
    said = re.sub(r"\S+://\S+|HTTP ?Error \d+:[^()]*", " ", text)
    said = re.sub(r"^\[[^]]+\] (\S+: )?", "", said)  # name of the extractor and id of the video decide nothing
    expected = PLEASE_REPORT not in str(error)
    if found := words.first(words.SITE, said, expected):
        known = found(text)
        known.retry_after_s = ROBOT_PAUSE_S if found is errors.RateLimited else None
        return known
    for link in chain:
        if isinstance(status := getattr(link, "status", None), int):
            headers = getattr(getattr(link, "response", None), "headers", {})
            return _by_status(status, text, headers)
    if status_text := re.search(r"HTTP Error (\d{3})", text):
        return _by_status(int(status_text[1]), text, {})
    for link in chain:
        for base in type(link).__mro__:
            if base.__name__ in TYPES:
                return TYPES[base.__name__](text)
    if found := words.first(words.LATE, said if expected else f"{said}; {PLEASE_REPORT}"):
        return found(text)
    if any(base.__name__ == "YoutubeDLError" for base in type(error).__mro__):
        return errors.VideoError(text)
    return errors.VideoError(redact("".join(traceback.format_exception(error)))[-MESSAGE_LENGTH:])


def retry_after_s(headers: Mapping[str, Any], now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; None without one."""
    value = str(headers.get("Retry-After") or "").strip()
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def tidy(text: str) -> str:
    """A message of yt-dlp without its prefixes, advice and secrets."""
    text = re.sub(r"\x1b\[[0-9;]*m|^\s*ERROR:\s*|^\s*\[download\] Got error:\s*", "", text)
    return redact(text.split(f"; {PLEASE_REPORT}")[0]).strip()[:MESSAGE_LENGTH]


def _by_status(status: int, text: str, headers: Mapping[str, Any]) -> errors.VideoError:
    kind: type[errors.VideoError]
    if status == 403 and any(name.lower().startswith(OBJECT_STORES) for name in headers):
        kind = errors.AccessDenied
    elif status in (404, 410, 451):
        kind = errors.Removed
    elif status in (401, 402, 403, 407):
        kind = errors.Forbidden
    elif status == 429:
        kind = errors.RateLimited
    elif status in (408, 425):
        kind = errors.Network
    else:
        kind = errors.ServerError if status >= 500 else errors.Unsupported
    known = kind(text)
    known.retry_after_s = retry_after_s(headers)
    return known


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all errors that it wraps, from the outside in."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            wrapped = getattr(link, "exc_info", None) or (None, None, None)
            waiting += [wrapped[1], getattr(link, "cause", None), link.__cause__, link.__context__]
