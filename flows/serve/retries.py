"""Which failures of a task are worth another try at once, and after which pauses.

A video's own failures are outcomes and never come here; the downloader tries them again by itself. What comes here is
the machinery around: a network file system that stalls, an object store or a server that is busy.
"""

import errno
from typing import Any

from reelmill.pipeline.errors import Transient

PASSING = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "EINTR", "ETIMEDOUT", "ESTALE", "EREMOTEIO", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED",
        "EPIPE", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""Errors of the system that may be gone in a minute; a full disk, a missing right or a bad sector will not."""


def passes(error: BaseException) -> bool:
    """Whether trying again in a minute can help."""
    if isinstance(error, Transient):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)  # an HTTP client's error
    if isinstance(status, int):
        return status == 429 or status >= 500
    return isinstance(error, OSError) and (error.errno in PASSING or isinstance(error, ConnectionError | TimeoutError))


def worth_it(task: Any, task_run: Any, state: Any) -> bool:
    """Prefect's question about a failed task."""
    error = state.data if isinstance(state.data, BaseException) else state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and passes(error)


RETRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [5, 30],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_it,
}
"""Options of a task whose failures may pass."""
