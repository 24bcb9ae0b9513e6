"""Commits that signals do not interrupt: one that arrives meanwhile is handled when the commit is complete.

A commit consists of several files (pictures, shards, outcomes). An exception in the middle of it would lose what was
finished, although the process had the time to write it.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end."""


class _Commits:
    """How many threads of this process commit at this moment."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0


_commits = _Commits()


def committing() -> bool:
    """Whether any thread of this process is in the middle of a commit."""
    return _commits.count > 0


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Handle signals that ask the process to end after the block, by the handlers that are installed. If the block
    fails, its error is raised, not what a handler raises: it says that the commit is not complete."""
    with _later():
        with _commits.lock:
            _commits.count += 1
        try:
            yield
        finally:
            with _commits.lock:
                _commits.count -= 1


@contextlib.contextmanager
def _later() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    found = {number: signal.getsignal(number) for number in SIGNALS}
    before: dict[int, Any] = {number: how for number, how in found.items() if how not in (None, signal.SIG_IGN)}
    over = False

    def handle(number: int, frame: FrameType | None) -> None:
        if over:  # it came while the handlers are restored
            hand_on(number, frame)
        else:
            came.append((number, frame))

    def hand_on(number: int, frame: FrameType | None) -> None:
        handler = before[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    with contextlib.ExitStack() as restored:
        for number, handler in before.items():
            restored.callback(signal.signal, number, handler)
            signal.signal(number, handle)
        try:
            yield
        except BaseException:
            over = True
            for number, frame in came:
                with contextlib.suppress(BaseException):
                    hand_on(number, frame)
            raise
        over = True
    for number, frame in came:
        hand_on(number, frame)
