"""Workers that are forked to be killed. For a process with one thread, which has imported what they need."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def started(work: Callable[[], object]) -> int:
    """Fork, do the work in the child, and leave; gives the child's number. Its traceback goes to stderr."""
    if child := os.fork():
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int | None:
    """How a child ended: its exit status, minus the signal that killed it, or None while it lives."""
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def joined(child: int, within_s: float = 120) -> int:
    """Wait for a child; gives how it ended. One that does not end is killed, and that is a failure."""
    deadline = time.monotonic() + within_s
    while (status := ended(child)) is None:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"a worker did not end within {within_s:g} s")
        time.sleep(0.01)
    return status


def children(process: int) -> list[int]:
    """Numbers of the processes that a process started."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(number) for number in task.read_text().split()]
    return found


def stop(process: int) -> None:
    """SIGKILL, for a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def living(processes: list[int], within_s: float = 5) -> list[int]:
    """Those of these processes, children of somebody else, that are still there after so many seconds."""
    deadline = time.monotonic() + within_s
    while (left := [p for p in processes if _lives(p)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
