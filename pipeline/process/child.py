"""A child process that can be killed: the only way to stop a decoder that hangs in C code, or to survive its crash.

    with Child("reelmill.pipeline.probe:measure", memory_bytes=2 << 30) as child:
        for message in child.run({"path": "video.mp4"}, limit_s=60):
            ...

The target is a generator function of one argument, the job. It runs in a child process, which does one job after
another, so that imports are paid once. Jobs and messages are any objects that can be pickled; `wire` sends them.

A child leads its own session: Ctrl-C reaches the parent only, and killing the child's process group also kills an
ffmpeg that it started. It never outlives its parent, not even one that was killed (see `_die_with_parent`).
"""

import contextlib
import faulthandler
import fcntl
import importlib
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from reelmill.pipeline.errors import BY_CLASS, DecoderCrash, Killed, TimedOut, VideoError
from reelmill.pipeline.process import wire

TAIL_BYTES = 4000
"""How much of the output of the child is kept for the message of a crash."""

START_SECONDS = 120.0
"""Time to start and to import the target; not part of the limit of a job."""

Kind = Literal["ready", "message", "done", "error", "memory"]


class Child:
    """One process, one job at a time; for use by one thread. It is started by the first `run`, and again by the first
    `run` after it was killed."""

    def __init__(self, target: str, *, memory_bytes: int | None = None, prepare: str | None = None) -> None:
        """`target`: "module:function". `memory_bytes`: the most private memory (RLIMIT_DATA) it may take. Address space
        is not limited: a JavaScript engine reserves many gigabytes that it never uses. `prepare`:
        "module:function" to call once, as part of the start."""
        self.target, self.memory_bytes, self.prepare = target, memory_bytes, prepare
        self._process: _Process | None = None
        self._busy = False

    def run(self, job: object, limit_s: float, idle_limit_s: float | None = None) -> Iterator[Any]:
        """Do one job; yield its messages as they arrive.

        `limit_s` bounds the seconds that this side waits for the child in the whole job, `idle_limit_s` those it waits
        for one message. The child's start does not count, nor does the time that the caller takes between two messages.
        Raises what the target raised (a VideoError by its class, anything else as VideoError with the traceback in its
        message), TimedOut, DecoderCrash when the process died or ran out of its memory, or Killed when it was killed
        from outside. After the last three, and when the caller stops reading early, the process is killed and the next
        job starts a fresh one.
        """
        if self._busy:
            raise RuntimeError(f"{self.target}: a job is running; one Child does one job at a time")
        self._busy, clean = True, False
        try:
            if self._process is not None and not self._process.alive():
                self.close()  # killed from outside between two jobs
            process = self._process or self._start()
            clock = _Clock(self.target, limit_s, idle_limit_s)
            with contextlib.suppress(BrokenPipeError):  # it has just died: `_receive` reports why
                process.send(job, clock)
            while (received := self._receive(clock)) is not None:
                yield received[0]
            clean = True
        except VideoError as error:
            clean = not isinstance(error, TimedOut | DecoderCrash | Killed)
            raise
        finally:
            if not clean:
                self.close()
            self._busy = False

    def interrupt(self) -> None:
        """Kill the process, so that `run` ends with an error; for another thread than the one that runs the job."""
        if (process := self._process) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and whatever it started. The next `run` starts a fresh one."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> "_Process":
        self._process = process = _Process(self.target, self.memory_bytes, self.prepare)
        try:
            self._receive(_Clock(f"the start of {self.target}", START_SECONDS))
        except VideoError:
            self.close()
            raise
        return process

    def _receive(self, clock: "_Clock") -> tuple[Any] | None:
        """The next message, in a tuple; None when the child is ready or done. Raises what `run` raises."""
        assert self._process is not None
        try:
            kind, content = self._process.receive(clock)
        except EOFError:
            process, self._process = self._process, None
            story = f"the process of {self.target} {process.kill()}"
            raise (Killed if process.popen.returncode == -signal.SIGKILL else DecoderCrash)(story) from None
        if kind == "message":
            return (content,)
        if kind in ("ready", "done"):
            return None
        raise self._rebuilt(kind, *content)

    def _rebuilt(self, kind: Kind, word: str | None, message: str, retry_after_s: float | None) -> VideoError:
        if kind == "memory":
            limit = f"its limit of {self.memory_bytes / 2**20:.0f} MiB" if self.memory_bytes else "memory"
            return DecoderCrash(f"the process of {self.target} ran out of {limit}: {message}")
        error = BY_CLASS.get(word or "", VideoError)(message)
        error.retry_after_s = retry_after_s
        return error


class _Clock:
    """The time left for a job. Only the time spent waiting counts."""

    def __init__(self, what: str, limit_s: float, idle_limit_s: float | None = None) -> None:
        self.what, self.limit_s, self.idle_limit_s = what, limit_s, idle_limit_s
        self.waited = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Callable[[], float]]:
        """Gives a function that returns the seconds left for the current wait, or raises TimedOut if there are none."""
        began, left = time.monotonic(), self.limit_s - self.waited

        def remaining() -> float:
            gone = time.monotonic() - began
            if gone >= left:
                raise TimedOut(f"{self.what} took longer than its limit of {self.limit_s:g} s and was killed")
            if self.idle_limit_s is None:
                return left - gone
            if gone >= self.idle_limit_s:
                raise TimedOut(f"{self.what} sent nothing for {self.idle_limit_s:g} s and was killed")
            return min(left, self.idle_limit_s) - gone

        try:
            yield remaining
        finally:
            self.waited += time.monotonic() - began


class _Process:
    """The parent's ends of a running child."""

    def __init__(self, target: str, memory_bytes: int | None, prepare: str | None) -> None:
        (job_end, jobs), (results, result_end) = wire.pipe(), wire.pipe()
        command = [
            sys.executable,
            "-u",
            "-P",
            "-m",
            "reelmill.pipeline.process.child",
            str(job_end),
            str(result_end),
            target,
        ]
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)  # "" is the current folder
        try:
            self.popen = subprocess.Popen(
                [*command, str(memory_bytes or 0), prepare or ""],
                stdin=subprocess.PIPE,  # never written to: it is closed when the parent dies
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(job_end, result_end),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        finally:
            os.close(job_end)
            os.close(result_end)
        assert self.popen.stdout is not None
        self.jobs: IO[bytes] = os.fdopen(jobs, "wb", buffering=0)
        self.results: IO[bytes] = os.fdopen(results, "rb", buffering=0)
        self.output: IO[bytes] | None = self.popen.stdout
        for file in (self.jobs, self.results, self.output):
            os.set_blocking(file.fileno(), False)
        self.tail = b""

    def alive(self) -> bool:
        """Whether it runs. Does not collect the exit status: until that is done no other process gets its id (see
        `kill`)."""
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def send(self, job: object, clock: _Clock) -> None:
        self.tail = b""
        with clock.waiting() as remaining:
            wire.write(self.jobs.fileno(), job, lambda fd, events: self._wait(fd, events, remaining()))

    def receive(self, clock: _Clock) -> tuple[Kind, Any]:
        with clock.waiting() as remaining:
            return wire.read(self.results.fileno(), lambda fd, events: self._wait(fd, events, remaining()))

    def kill(self) -> str:
        """Kill the whole process group and close the pipes; return how the process ended, if it ended by itself."""
        # Before waiting for it: until then no other group can have its id. A process that is already dying keeps its
        # own cause of death.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        code = self.popen.wait()
        self._drain()
        for file in (self.jobs, self.results, self.popen.stdin, self.popen.stdout):
            assert file is not None
            with contextlib.suppress(BrokenPipeError):
                file.close()
        if code == -signal.SIGKILL:
            cause = "was killed by SIGKILL (the system was out of memory, or somebody killed it)"
        else:
            cause = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        words = self.tail.decode(errors="replace").strip()
        return f"{cause}; its last output:\n{words}" if words else cause

    def _wait(self, fd: int, events: int, seconds: float) -> None:
        """Return when `fd` may be ready; the caller then tries again. Raises EOFError if the process is gone and has
        left nothing, even while another process holds its end of the pipe open."""
        poll = select.poll()
        poll.register(fd, events)
        if self.output is not None:
            poll.register(self.output.fileno(), select.POLLIN)
        ready = {number for number, _ in poll.poll(min(seconds, 1.0) * 1000 + 1)}
        if not ready and not self.alive():
            raise EOFError
        if self.output is not None and self.output.fileno() in ready:
            self._drain()

    def _drain(self) -> None:
        """Read the output of the child, so that it never blocks on a full pipe, and keep the end of it."""
        while self.output is not None and (news := self.output.read(1 << 16)) is not None:
            self.tail = (self.tail + news)[-TAIL_BYTES:]
            if not news:
                self.output = None


def _die_with_parent() -> None:
    """Let the kernel end this process group (by SIGIO, which is not handled) when the parent's end of stdin closes.

    A thread that waits for the end of file would not run while a C function holds the interpreter lock, and
    PR_SET_PDEATHSIG fires when the *thread* that started us ends.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it was closed before this check
        os._exit(1)


def _serve(jobs: int, results: int, target: str, prepare: str) -> None:
    """Import the target, prepare, report that, and do jobs until the parent closes its end."""
    for descriptor in (jobs, results):
        os.set_inheritable(descriptor, False)
    try:
        function = _named(target)
        if prepare:
            _named(prepare)()
    except Exception as error:
        wire.write(results, _report(error))
        return
    wire.write(results, ("ready", None))
    while True:
        try:
            job = wire.read(jobs)
        except EOFError:
            return
        end: tuple[Kind, Any] = ("done", None)
        try:
            for message in function(job):
                wire.write(results, ("message", message))
        except Exception as error:
            end = _report(error)
        job = message = None  # free both before the next job
        wire.write(results, end)


def _named(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _report(error: Exception) -> tuple[Kind, tuple[str | None, str, float | None]]:
    """What the parent needs to raise this error again."""
    if isinstance(error, MemoryError):
        return "memory", (None, str(error), None)
    if isinstance(error, VideoError):
        return "error", (error.error_class, str(error), error.retry_after_s)
    return "error", (None, "".join(traceback.format_exception(error)), None)


if __name__ == "__main__":
    faulthandler.enable()
    _die_with_parent()
    if limit := int(sys.argv[4]):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[5])
