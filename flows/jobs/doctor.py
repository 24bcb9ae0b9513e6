"""Can this machine do the work? Each part is tried, not only looked for; a row a check, with what to do about it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import numpy as np
from packaging.requirements import Requirement

from reelmill.pipeline.decode import Limits
from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.extract.cut import CutJob, CutSegment
from reelmill.pipeline.process.child import Child

State = Literal["ok", "warning", "error"]

LITTLE, TOO_LITTLE = 20 << 30, 1 << 30
"""Bytes of free disk: below the first a corpus will not fit, below the second nothing will."""
SECONDS = 60
"""For one program to answer: a busy machine is slow, not broken."""


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty where all is well."""


@dataclass(frozen=True)
class DoctorResult:
    """Every check."""

    checks: list[Check]
    errors: int


def doctor(root: str | Path) -> DoctorResult:
    """Every check, and whether any is an error. `root`: where the disk is looked at; it need not be there yet."""
    checks: list[Callable[[], Iterator[Check]]] = [
        _python, _packages, _device, _weights, _decoder, _downloader, _javascript, _ffmpeg,
        lambda: _disk(root), _server,
    ]  # fmt: skip
    rows = [row for check in checks for row in check()]
    return DoctorResult(rows, sum(row.state == "error" for row in rows))


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield (
        Check("python", "ok", found)
        if sys.version_info >= (3, 11)
        else Check("python", "error", found, "3.11 or newer is needed: make PYTHON=python3.11")
    )


def _packages() -> Iterator[Check]:
    """What the project asks for against what is installed. An extra may be missing, but not be half right."""
    wrong, absent, count = [], set(), 0
    for text in requires("reelmill") or ():
        wanted = Requirement(text)
        extra = str(wanted.marker).rpartition('extra == "')[2].strip('"') if wanted.marker else ""
        if wanted.name == "reelmill" or extra == "dev":
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            if extra:
                absent.add(extra)
            else:
                wrong.append(f"{wanted.name} is missing")
            continue
        count += 1
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found} ({wanted.specifier} is needed)")
    advice = "make clean, then make test or make demo, sets up a new environment"
    told = f"{count} fit" if not wrong else ", ".join(wrong)
    told += f"; not installed: {', '.join(sorted(absent))}" if absent else ""
    yield Check("packages", "error" if wrong else "ok", told, advice if wrong else "")


def _device() -> Iterator[Check]:
    try:
        from reelmill.extractors.core.device import choose_device, choose_precision
    except ImportError as error:
        yield Check("torch", "error", str(error), "torch and torchvision must match: see `packages`")
        return
    device = choose_device("auto")
    yield Check("torch", "ok", f"{version('torch')} on {device}, {choose_precision('auto', device)}")


def _weights() -> Iterator[Check]:
    """The first published file of each network."""
    from reelmill.extractors.registry import descriptors
    from reelmill.extractors.weights import files

    for extractor in descriptors():
        record = next((record for record in extractor.checkpoints if record.file), None)
        if record is None:
            continue
        name = extractor.name
        (found,) = files.describe_files((record,)).weights
        trust = ("", "") if record.published else (" --sha256 HASH", " (none is published: that of the file you trust)")
        get = f"`reelmill weights fetch {record.name}{trust[0]}`{trust[1]}, or set weights: random to try things out"
        match found.state:
            case "verified":
                yield Check(f"weights {name}", "ok", record.name)
            case "missing":
                yield Check(f"weights {name}", "warning", f"{record.name} is not here", get)
            case "unverified":
                advice = "say with weights_sha256 that you trust it"
                yield Check(f"weights {name}", "warning", f"{found.file}: nobody published its hash", advice)
            case _:
                yield Check(f"weights {name}", "error", f"{found.file} is another file", f"remove it, then {get}")


def _decoder() -> Iterator[Check]:
    """A small video is made, measured and cut in processes of their own, as any other."""
    frames = (np.full((64, 96, 3), 8 * number, np.uint8) for number in range(25))
    limits = Limits(wall_seconds=SECONDS)
    with tempfile.TemporaryDirectory(prefix="reelmill-") as folder:
        try:
            path = write_video(Path(folder) / "made.mp4", frames, 25, None, 22_050)
            with Child("reelmill.pipeline.probe:measure", memory_bytes=limits.memory_bytes) as child:
                (measured,) = child.run({"path": str(path), "limits": limits}, SECONDS)
            facts = measured.facts
            job = CutJob(str(path), facts["start_ms"], facts["duration_ms"], 5000, {}, 32, limits)
            with Child("reelmill.pipeline.extract.cut:cut", memory_bytes=limits.memory_bytes) as child:
                seen = [message.picture for message in child.run(job, SECONDS) if isinstance(message, CutSegment)]
        except (VideoError, OSError) as error:
            yield Check("decoder", "error", _line(error), "see `packages`; PyAV brings its own codecs")
            return
    right = facts["frame_count"] == 25 and len(seen) == 1
    found = f"PyAV {version('av')} gives {facts['frame_count']} frames of 25"
    yield Check("decoder", "ok", found) if right else Check("decoder", "error", found, "reinstall PyAV")


def _downloader() -> Iterator[Check]:
    """Imported in a process of its own, as for a download."""
    code = "import yt_dlp, yt_dlp_ejs; print(yt_dlp.version.__version__)"
    found, said = _answer([sys.executable, "-c", code])
    advice = "" if found else "see `packages`; without it nothing is downloaded, local files still work"
    yield Check("yt-dlp", "ok" if found else "error", said, advice)


def _javascript() -> Iterator[Check]:
    """Where yt-dlp looks for it: beside Python, then on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "deno"
    deno = str(beside) if beside.is_file() else shutil.which("deno")
    advice = "YouTube needs it: install deno 2 (`packages`); other sites work without"
    if deno is None:
        yield Check("JavaScript", "warning", "no deno", advice)
        return
    with tempfile.TemporaryDirectory(prefix="reelmill-") as cache:
        works, said = _answer([deno, "eval", "console.log(6 * 7)"], DENO_DIR=cache, DENO_NO_UPDATE_CHECK="1")
    _, name = _answer([deno, "--version"])
    right = works and said == "42"
    yield Check("JavaScript", "ok" if right else "warning", name if right else said, "" if right else advice)


def _ffmpeg() -> Iterator[Check]:
    try:
        works, said = _answer([imageio_ffmpeg.get_ffmpeg_exe(), "-version"])
    except RuntimeError as error:
        works, said = False, _line(error)
    advice = "" if works else "it joins video and sound after a download: reinstall imageio-ffmpeg"
    yield Check("ffmpeg", "ok" if works else "error", " ".join(said.split()[:3]) if works else said, advice)


def _disk(root: str | Path) -> Iterator[Check]:
    """Of the root, or of the nearest folder above it that is there."""
    if "://" in str(root) and not str(root).startswith("file://"):
        yield Check("disk", "ok", f"{root} is no disk")
        return
    wanted = Path(str(root).removeprefix("file://")).expanduser().absolute()
    place = next(path for path in (wanted, *wanted.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:,.0f} GB free at {place}"
    if not os.access(place, os.W_OK):
        yield Check("disk", "error", f"{place} cannot be written to", "give another --root, or its permissions")
    elif free < TOO_LITTLE:
        yield Check("disk", "error", found, "make room: nothing can be committed")
    else:
        little = free < LITTLE
        yield Check(
            "disk", "warning" if little else "ok", found, "`reelmill plan` says what is needed" if little else ""
        )


def _server() -> Iterator[Check]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        yield Check("server", "ok", "none set: commands do their work without one")
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10) as answer:
            answer.read(100)
    except (OSError, ValueError) as error:
        advice = "start it (`prefect server start`), or unset PREFECT_API_URL"
        yield Check("server", "error", f"{url} does not answer: {_line(error)}", advice)
        return
    yield Check("server", "ok", f"{url} answers")


def _answer(command: list[str], **environment: str) -> tuple[bool, str]:
    """Whether a program ends well, and the first line that it prints; of its errors the last."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **environment}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, _line(error)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, (lines or ["nothing"])[0 if done.returncode == 0 else -1]


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
