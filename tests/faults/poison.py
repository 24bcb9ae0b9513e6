"""A decoder that misbehaves by the name of the file. A decoding process loads it in the place of the real one, which it
leaves in charge of every other file (`reelmill.pipeline.extract.ahead.loader`)."""

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from reelmill.pipeline.decode import BY_RULE, FRAMES, Frame, Limits, Streams, Tally

real = FRAMES["pyav"]


def load() -> None:
    """Run by the child as it starts."""
    FRAMES["pyav"] = frames


def frames(
    path: str | Path, start: float, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[tuple[float, Frame | None]]:
    """The real frames, and in their middle what the file's name says."""
    for number, found in enumerate(real(path, start, limits, tally, streams)):
        yield found
        if number == 10:
            misbehave(Path(path).name)


def misbehave(name: str) -> None:
    match name.partition(".")[0].partition("-")[0]:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "hang":  # in C, with the interpreter lock held
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "allocate":
            kept = []
            while True:
                kept.append(bytearray(16 << 20))
        case "killed":  # once: as if the system had been out of memory
            flag = Path(os.environ["FAULTS_FLAG"])
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
