"""Signals during a commit: it is completed first, and the handlers are called afterwards."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from reelmill.storage import FeatureWriter, Tables, open_store
from reelmill.storage.shield import SIGNALS, committing, shielded
from tests.stores import SPEC, block


class Asked(KeyboardInterrupt):
    """What the handler of these tests raises."""


def _handle(number: int, _: FrameType | None) -> None:
    raise Asked(number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    yield
    assert all(signal.getsignal(number) is _handle for number in SIGNALS)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_the_end_of_the_outermost_block(number: int) -> None:
    done: list[str] = []

    def commit() -> None:
        with shielded():
            with shielded():
                os.kill(os.getpid(), number)
                done.append("inner")
            assert committing()
            done.append("outer")

    with pytest.raises(Asked):
        commit()
    assert done == ["inner", "outer"]
    assert not committing()


def test_an_error_of_the_commit_is_what_is_raised() -> None:
    @shielded()
    def commit() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        commit()
    assert not committing()


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with shielded():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


def test_a_commit_of_another_thread_is_known() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def commit() -> None:
        with shielded():
            begun.set()
            go_on.wait(60)

    thread = threading.Thread(target=commit)
    thread.start()
    assert begun.wait(60)
    assert committing()
    go_on.set()
    thread.join()
    assert not committing()


@pytest.mark.parametrize("moment", range(8))
def test_leaving_a_writer_stores_every_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """At whatever fsync or rename the signal comes."""
    passed = 0

    def at_moment(call: object) -> object:
        def guarded(*given: object) -> object:
            nonlocal passed
            passed += 1
            if passed == moment + 1:
                os.kill(os.getpid(), signal.SIGINT)
            return call(*given)  # type: ignore[operator]

        return guarded

    for name in ("fsync", "rename", "replace"):
        monkeypatch.setattr(os, name, at_moment(getattr(os, name)))
    for number in range(3):  # more moments than one shard has
        try:
            with FeatureWriter(tmp_path, SPEC) as writer:
                for video in range(4):
                    writer.add(block(f"v{number}-{video}"))
        except Asked:
            break
    else:
        pytest.fail("no signal came")
    assert len(open_store(tmp_path, SPEC.name)) == 4 * (number + 1)


def test_rows_of_a_table_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def signalled(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", signalled)
    with pytest.raises(Asked):
        Tables(tmp_path).write("videos", [{"video_id": "v"}])
    monkeypatch.undo()
    assert Tables(tmp_path).units("videos") == {"v"}
