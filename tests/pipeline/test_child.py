"""A process that can be killed: what it gives, how it ends, and that nothing of it stays behind."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reelmill.pipeline import errors
from reelmill.pipeline.process.child import Child

MB = 1 << 20


def act(job: dict) -> Iterator[object]:
    """The target of these tests, run in the child."""
    match job["do"]:
        case "count":
            yield from range(job["to"])
        case "nap":
            for _ in range(job["times"]):
                yield "awake"
                time.sleep(job["seconds"])
        case "pid":
            yield os.getpid(), os.getpgrp(), "torch" in sys.modules, "yt_dlp" in sys.modules
        case "ready":
            yield os.environ.get("READY") == str(os.getpid())
        case "arrays":
            for _ in range(job["count"]):
                yield {"frames": np.arange(job["bytes"], dtype=np.uint8), "empty": np.zeros((0, 3), np.float32)}
        case "echo":
            yield job["array"] + 1
        case "raise":
            yield "before"
            error = errors.BY_CLASS[job["class"]]("the message")
            error.retry_after_s = 7.5
            raise error
        case "divide":
            yield 1 / 0
        case "unpicklable":
            yield lambda: None
        case "signal":
            faulthandler.disable()
            print("about to die, said on stdout")
            os.kill(os.getpid(), job["number"])
        case "crash":
            print("x" * 100_000, file=sys.stderr)
            print("last words", file=sys.stderr)
            os._exit(3)
        case "allocate":
            yield len(bytearray(job["bytes"]))
        case "hang":  # in C, with the interpreter lock held: no Python code of this process runs meanwhile
            import re

            yield "hanging"
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "sleeper":
            process = subprocess.Popen(["sleep", "60"])
            yield process.pid
            time.sleep(60)


def get_ready() -> None:
    """Takes longer than the job that follows may."""
    time.sleep(0.5)
    os.environ["READY"] = str(os.getpid())


TARGET = f"{__name__}:act"


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    """One for all tests: whatever a test does to its process, the next job must find a working one."""
    with Child(TARGET) as child:
        yield child


def one(child: Child, job: dict, limit_s: float = 20) -> object:
    (message,) = child.run(job, limit_s)
    return message


def gone(pid: int, within_s: float = 5) -> bool:
    """The process ended (a zombie has ended) within this time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_messages_come_in_order_and_one_process_serves_many_jobs(child: Child) -> None:
    assert list(child.run({"do": "count", "to": 5}, 20)) == [0, 1, 2, 3, 4]
    assert list(child.run({"do": "count", "to": 0}, 20)) == []
    pid, group, torch, yt_dlp = one(child, {"do": "pid"})
    assert pid == group != os.getpgrp()  # a session of its own: Ctrl-C does not reach it
    assert one(child, {"do": "pid"})[0] == pid
    assert not torch
    assert not yt_dlp


def test_arrays_arrive_whole_writable_and_fast(child: Child) -> None:
    array = np.random.default_rng(0).normal(size=(300, 1000)).astype(np.float32)
    back = one(child, {"do": "echo", "array": np.asfortranarray(array)})
    np.testing.assert_array_equal(back, array + 1)
    back[0, 0] = 0  # writable

    began, total = time.perf_counter(), 0
    for message in child.run({"do": "arrays", "count": 40, "bytes": 10 * MB}, 20):
        assert message["empty"].shape == (0, 3)
        assert message["frames"][-1] == (10 * MB - 1) % 256
        total += message["frames"].nbytes
    rate = total / (time.perf_counter() - began)
    assert total == 400 * MB
    assert rate > 0.2e9, f"{rate / 1e9:.2f} GB/s"  # 1.5 to 2.5 on a quiet machine


@pytest.mark.parametrize("word", sorted(errors.BY_CLASS))
def test_an_error_keeps_class_message_and_wait(child: Child, word: str) -> None:
    got = []
    with pytest.raises(errors.BY_CLASS[word], match=r"^the message$") as caught:
        got.extend(child.run({"do": "raise", "class": word}, 20))
    assert got == ["before"]
    assert caught.value.retry_after_s == 7.5
    assert type(caught.value) is errors.BY_CLASS[word]


def test_other_errors_are_unknown_and_keep_their_traceback(child: Child) -> None:
    before = one(child, {"do": "pid"})
    with pytest.raises(errors.VideoError, match=r"(?s)in act.*ZeroDivisionError") as caught:
        one(child, {"do": "divide"})
    assert caught.value.error_class == "unknown"
    assert not caught.value.permanent
    with pytest.raises(errors.VideoError, match="pickle"):
        one(child, {"do": "unpicklable"})
    assert one(child, {"do": "pid"}) == before  # an error costs no process


def test_a_target_that_is_not_there_is_an_error() -> None:
    with Child("tests.no_such_module:nothing") as child, pytest.raises(errors.VideoError, match="no_such_module"):
        one(child, {})


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_signal_is_a_crash_and_the_next_job_runs(child: Child, number: signal.Signals) -> None:
    """SIGKILL comes from outside: out of memory, or somebody; no fault of the video."""
    kind = errors.Killed if number == signal.SIGKILL else errors.DecoderCrash
    with pytest.raises(kind, match=f"test_child:act .*{number.name}") as caught:
        one(child, {"do": "signal", "number": number})
    assert caught.value.permanent == (number != signal.SIGKILL)
    assert "about to die, said on stdout" in str(caught.value)
    assert list(child.run({"do": "count", "to": 2}, 20)) == [0, 1]


def test_an_exit_is_a_crash_with_the_end_of_what_was_said(child: Child) -> None:
    with pytest.raises(errors.DecoderCrash, match=r"exit code 3(?s:.*)last words$") as caught:
        one(child, {"do": "crash"})
    assert len(str(caught.value)) < 5000


def test_memory_is_bounded() -> None:
    with Child(TARGET, memory_bytes=600 * MB) as child:
        assert one(child, {"do": "allocate", "bytes": 10 * MB}) == 10 * MB
        with pytest.raises(errors.DecoderCrash, match="600 MiB"):
            one(child, {"do": "allocate", "bytes": 700 * MB})
        assert one(child, {"do": "allocate", "bytes": 10 * MB}) == 10 * MB


def test_a_hang_in_c_is_killed_at_the_limit(child: Child) -> None:
    pid = one(child, {"do": "pid"})[0]
    began = time.monotonic()
    with pytest.raises(errors.TimedOut, match=r"test_child:act.* 0\.5 s"):
        list(child.run({"do": "hang"}, limit_s=0.5))
    assert 0.5 <= time.monotonic() - began < 2.5
    assert gone(pid)
    assert one(child, {"do": "pid"})[0] != pid


def test_silence_has_its_own_limit(child: Child) -> None:
    with pytest.raises(errors.TimedOut, match=r"nothing for 0\.3 s"):
        list(child.run({"do": "hang"}, limit_s=60, idle_limit_s=0.3))


def test_waiting_adds_up_and_nothing_else_counts(child: Child) -> None:
    with pytest.raises(errors.TimedOut):
        list(child.run({"do": "nap", "times": 100, "seconds": 0.1}, limit_s=0.5))
    for _ in child.run({"do": "nap", "times": 2, "seconds": 0.9}, limit_s=0.9):
        time.sleep(0.7)  # of 1.8 seconds in all this side waits for 0.4


def test_what_the_child_started_dies_with_it(child: Child) -> None:
    pids = []
    with pytest.raises(errors.TimedOut):
        pids.extend(child.run({"do": "sleeper"}, limit_s=1.5))
    assert gone(pids[0])


def test_a_reader_that_stops_early_leaves_it_usable(child: Child) -> None:
    running = child.run({"do": "count", "to": 1000}, 20)
    assert next(running) == 0
    with pytest.raises(RuntimeError, match="one job at a time"):
        next(child.run({"do": "count", "to": 1}, 20))
    running.close()
    assert list(child.run({"do": "count", "to": 3}, 20)) == [0, 1, 2]


def test_killed_between_two_jobs_is_nobodys_fault(child: Child) -> None:
    pid = one(child, {"do": "pid"})[0]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    time.sleep(0.2)  # its other threads end a moment after its first one
    assert one(child, {"do": "pid"})[0] != pid


@pytest.mark.parametrize("job", ["sleeper", "hang"])
def test_the_child_dies_with_a_parent_that_is_killed(job: str) -> None:
    program = (
        "from reelmill.pipeline.process.child import Child\n"
        f"child = Child('{TARGET}')\n"
        "print(next(child.run({'do': 'pid'}, 20))[0], flush=True)\n"
        f"for message in child.run({{'do': '{job}'}}, 60):\n"
        "    print(message, flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)},
    )
    assert parent.stdout is not None
    pids = [parent.stdout.readline(), parent.stdout.readline()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for line in pids:
        assert not line.strip().isdigit() or gone(int(line))
    assert pids[0].strip().isdigit()


def test_close_leaves_no_process() -> None:
    child = Child(TARGET)
    pid = one(child, {"do": "pid"})[0]
    child.close()
    child.close()
    assert gone(pid)


def test_getting_ready_is_part_of_the_start() -> None:
    with Child(TARGET, prepare=f"{__name__}:get_ready") as child:
        assert list(child.run({"do": "ready"}, 0.4)) == [True]
        child.close()
        assert list(child.run({"do": "ready"}, 0.4)) == [True]  # of the next process too
    with Child(TARGET, prepare=f"{__name__}:nothing") as child, pytest.raises(errors.VideoError, match="nothing"):
        list(child.run({"do": "ready"}, 1))
