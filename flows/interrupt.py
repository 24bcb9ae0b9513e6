"""A clean end on Ctrl-C, SIGTERM and SIGHUP: what is finished is committed, child processes end, within ten seconds.

Inside `handled()` the first of these signals raises `Interrupted` in the main thread, as Ctrl-C raises
KeyboardInterrupt; steps commit what is finished while it passes through them. `deferred()` puts it off to the next
`check()`, for work that is worth finishing in the next seconds, and `storage.shield` to the end of a commit. A thread
ends the process if that takes too long, for example because the main thread is inside of one long call of a library.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from reelmill.storage.shield import SIGNALS, committing

GRACE_S = 9.0
"""After a signal the process has so long to end by itself."""
DEFER_S = 4.0
"""Longest time that `deferred` puts a signal off."""
COMMIT_S = 60.0
"""Longest time that a commit may take after a signal; a service manager should kill later than that."""


class Interrupted(KeyboardInterrupt):
    """A signal asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        """Exit status: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""


class _State:
    """Of this process; signals have no other way to the code that they interrupt."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.raised = False
        self.deferred = 0
        self.terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


_state = _State()


def received() -> int | None:
    """The signal that asked this process to end, if any did."""
    return _state.received


def _interrupt(number: int, _: FrameType | None = None) -> None:
    """The signals' handler. Only the first one counts: those that follow must not interrupt the commit."""
    _state.received = _state.received or number
    _leave_terminal()
    if not _state.deferred:
        check()


def check() -> None:
    """Raise Interrupted, once, if a signal has asked for it."""
    if _state.received is not None and not _state.raised:
        _state.raised = True
        raise Interrupted(_state.received)


def _leave_terminal() -> None:
    """Write no more to a terminal that was closed: each line would be an error of the system."""
    for descriptor in _state.terminals:
        if not os.isatty(descriptor):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Put a signal off until `check` is called, `DEFER_S` are over, or the block ends."""
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
    check()


@contextlib.contextmanager
def handled(too_late: Callable[[int], None]) -> Iterator[None]:
    """Handle the signals while the block runs; for the main thread. Those that are ignored stay ignored: Ctrl-C in a
    shell's background jobs, SIGHUP under nohup. `too_late` is called with the exit status by another thread, before
    that ends the process in the middle of the block."""
    numbers = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    here, there = socket.socketpair()
    there.setblocking(False)
    ended, left = threading.Event(), threading.Event()
    global _state
    _state = _State()
    # Python writes the number of a signal there at once, also while the main thread is busy in a library.
    woken = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        while (came := here.recv(1)) and came[0] not in numbers:
            pass
        if not came:
            here.close()
            return
        # It stays open after a signal: Python complains where it cannot write the number of the next one.
        if not ended.wait(DEFER_S) and not _state.raised:
            _state.deferred = 0
            signal.pthread_kill(main, came[0])
        if not _ends(ended):
            if not left.is_set():
                too_late(128 + came[0])
            os._exit(128 + came[0])

    threading.Thread(target=watch, name="interrupt", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        if _state.received is None:  # else the thread sees to it that the interpreter's own end does not hang either
            ended.set()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        there.close()


def _ends(ended: threading.Event) -> bool:
    """Wait for the process to end by itself: the rest of its grace, or until its commit is complete and a second
    more. False if it does not."""
    began = time.monotonic()
    until = began + GRACE_S - DEFER_S
    while not ended.wait(0.1):
        now = time.monotonic()
        if committing() and now < began + COMMIT_S:
            until = max(until, now + 1.0)
        if now > until:
            return False
    return True
