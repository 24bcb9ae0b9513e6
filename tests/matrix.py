"""Which frame comes back: each kind of file read with each decoder, and the table in `pipeline/README.md`.

Each decoder reads in a child process, as in an extraction: decord and torchcodec bring FFmpeg libraries that must not
meet.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import av
import numpy as np

from reelmill.extractors.core.frames import Geometry
from reelmill.pipeline.decode import Decoder, Limits, Scaler, Tally, frames, loader, memory_bytes
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.probe import probe
from reelmill.pipeline.process.child import Child
from tests.kinds import STEP_MS, Case, Frames
from tests.media import read_index

DECODERS: tuple[Decoder, ...] = get_args(Decoder)
NEAR_MS = STEP_MS // 2
"""A frame is at the right time when it is nearer to it than to its neighbour's."""


@dataclass(frozen=True)
class Read:
    """What a decoder gave for one file."""

    came: Frames
    errors: int = 0
    refused: str = ""
    """Why it did not open."""


def read(job: tuple[Decoder, Case] | Decoder) -> Iterator[Read | str]:
    """Target for a child process: decode one file as the extraction does; or say the decoder's identity."""
    if isinstance(job, str):
        yield import_module(f"reelmill.pipeline.decode.{job}").identity()
        return
    decoder, case = job
    width, height = case.size
    shape = (width, height) if case.turn % 180 else (height, width)
    scaler, tally, came = Scaler(Geometry(crop=shape, scale_to=shape)), Tally(), []
    start = probe(case.path)["start_ms"] / 1000
    for time, _, frame in frames(case.path, decoder, start, Limits(), tally):
        came.append((time, read_index(np.rot90(scaler(frame), -case.turn // 90))))
    yield Read(came, tally.errors)


def read_all(cases: Sequence[Case], decoder: Decoder, folder: Path) -> tuple[str, list[Read]] | None:
    """The decoder's identity and what it gives for each case; None if it is not installed here."""
    reads: list[Read] = []
    with process(decoder, "tests.matrix:read", folder) as child:
        if child is None:
            return None
        (identity,) = child.run(decoder, 60)
        for case in cases:
            try:
                reads += child.run((decoder, case), 60)
            except VideoError as error:
                reads.append(Read([], refused=f"{error.error_class}: {error}"))
    return identity, reads


@contextlib.contextmanager
def process(decoder: Decoder, target: str, folder: Path) -> Iterator[Child | None]:
    """A child process as an extraction starts it, for one decoder; None if that is not installed here. `folder` is for
    links to torchcodec's libraries, and empty."""
    paths = ffmpeg_folders(folder) if decoder == "torchcodec" else []
    if find_spec({"pyav": "av"}.get(decoder, decoder)) is None or (decoder == "torchcodec" and not paths):
        yield None
        return
    paths += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    with (
        patch.dict(os.environ, {"LD_LIBRARY_PATH": os.pathsep.join(paths)}),
        Child(target, memory_bytes=memory_bytes(decoder, Limits()), prepare=loader(decoder)) as child,
    ):
        yield child


def ffmpeg_folders(folder: Path) -> list[str]:
    """Folders for LD_LIBRARY_PATH in which torchcodec finds the FFmpeg libraries that PyAV brings, for a machine whose
    system has none: `folder`, with links under the names that it looks for, and PyAV's. Empty where PyAV has none."""
    libraries = Path(av.__file__).parents[1] / "av.libs"
    found = []
    for library in libraries.glob("lib*.so.*"):
        if name := re.fullmatch(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+(\.so\.\d+)\..*", library.name):
            link = folder / (name[1] + name[2])
            link.symlink_to(library)
            found.append(link)
    return [str(folder), str(libraries)] if found else []


def verdict(case: Case, read: Read) -> str:
    """What the table says of it: right, or in which manner not."""
    if read.refused:
        return "does not open"

    def same(one: tuple[float, int], other: tuple[float, int]) -> bool:
        return abs(one[0] - other[0]) < NEAR_MS and one[1] == other[1]

    there = [any(same(frame, good) for frame in read.came) for good in case.good]
    strays = [
        frame
        for frame in read.came
        if not any(same(frame, good) for good in case.good)
        and not any(abs(frame[0] - time) < NEAR_MS for time in case.harmed)
    ]
    total, right = len(there), sum(there)
    if case.harmed and right < total and not strays and there == sorted(there, reverse=True):
        return "stops early"  # after how many frames is up to its threads: decord has stopped after 0, 27 and 33 of 53
    if not strays and right < total:
        if not right:
            return "no frame comes"
        return f"stops after {right} of {total}" if all(there[:right]) else f"{total - right} of {total} missing"
    if [index for _, index in read.came] == [index for _, index in case.good] and strays:
        off = max(abs(t - good) for (t, _), (good, _) in zip(read.came, case.good, strict=True))
        return f"times off by up to {off / 1000:.2f} s"
    if right < total:
        return f"{total - right} of {total} wrong"
    return f"{len(strays)} too many" if strays or len(read.came) > total + len(case.harmed) else "right"


def table(verdicts: Mapping[str, Sequence[str]]) -> str:
    """Markdown: kinds of files with the same verdicts, in the order of DECODERS, share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, found in verdicts.items():
        rows.setdefault(tuple(found), []).append(name)
    lines = [f"| file | {' | '.join(DECODERS)} |", "|---" * (1 + len(DECODERS)) + "|"]
    lines += [f"| {'; '.join(names)} | {' | '.join(found)} |" for found, names in rows.items()]
    return "\n".join(lines)
