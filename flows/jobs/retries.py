"""Which failures of a step are transient, so that it is tried again at once, and after which pauses.

A video's own failures are outcomes and are not handled here; the downloader retries by itself. This is about the
infrastructure: a network file system that stalls, an object store or a server that is busy.
"""

import errno
import random
from collections.abc import Callable
from typing import TypeVar

from reelmill.pipeline.errors import Transient

R = TypeVar("R")

PAUSES_S = (5, 30)
"""Pause before the second and before the third try."""
JITTER = 0.5
"""A pause is longer by up to this share of it, at random: many workers do not come back at the same moment."""

TRANSIENT = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "EINTR", "ETIMEDOUT", "ESTALE", "EREMOTEIO", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED",
        "EPIPE", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""Errors of the system that may be gone in a minute; a full disk, a missing permission or a bad sector will not."""


def is_transient(error: BaseException) -> bool:
    """Whether trying again in a minute can help."""
    if isinstance(error, Transient):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)  # an HTTP client's error
    if isinstance(status, int):
        return status == 429 or status >= 500
    return isinstance(error, OSError) and (
        error.errno in TRANSIENT or isinstance(error, ConnectionError | TimeoutError)
    )


def call(step: Callable[[], R], sleep: Callable[[float], None]) -> R:
    """The result of `step`, which is tried again after each of the pauses while its failures are transient. Raises its
    last error."""
    for pause in PAUSES_S:
        try:
            return step()
        except Exception as error:
            if not is_transient(error):
                raise
        sleep(pause * (1 + JITTER * random.random()))
    return step()
