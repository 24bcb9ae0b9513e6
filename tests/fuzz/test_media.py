"""Spoilt media files through the real probe and the real cutting, each in its killable process: every file ends with
frames, or with a class and a reason, and neither this process nor the others notice."""

import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Limits, Tally
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.extract.cut import CutJob, CutSegment
from reelmill.pipeline.process.child import Child
from tests.fuzz.spoil import spoil_file
from tests.media import make_video

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
MOST_CLIP_BYTES = 400_000
LIMITS = Limits(max_seconds=600, max_frames=20_000, max_pixels=2_000_000, wall_seconds=20, memory_bytes=512 << 20)
PLANS = {0: FramePlan(Geometry(scale_to=(32, 32), crop=(28, 28)), Windows("consecutive", length=4)),
         1: SoundPlan(16_000, least=1024)}  # fmt: skip
WORDS = (b"ftyp", b"moov", b"trak", b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"ctts", b"elst", b"tkhd", b"mdhd",
         b"avcC", b"mdat", b"RIFF", b"LIST", b"hdrl", b"avih", b"strh", b"strf", b"movi", b"idx1", b"00dc", b"FLV",
         b"onMetaData", b"\x1aE\xdf\xa3", b"\x16T\xaek", b"\x1fC\xb6u", b"\x1cS\xbbk", b"webm", b"A_", b"V_",
         b"\x00\x00\x01", b"G@", b"OggS", b"\x30\x26\xb2\x75", b"avc1", b"esds")  # fmt: skip
"""Of the containers: boxes, chunks, elements, start codes. Sizes stand before or behind them."""
KINDS = {
    "a.mp4": {"sound": True},
    "frag.mp4": {"sound": True, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "b.mkv": {"sound": True}, "c.webm": {"codec": "libvpx"}, "d.avi": {"codec": "mpeg4", "sound": True},
    "e.ts": {"sound": True}, "f.flv": {"sound": True}, "g.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "h.wmv": {"codec": "wmv2"}, "i.mpg.ts": {"codec": "mpeg2video"}, "j.mkv": {"codec": "ffv1"},
    "k.mp4": {"codec": "libx264", "options": {"bf": "2", "g": "5"}},
}  # fmt: skip


@dataclass
class Figures:
    """What came of some files."""

    tried: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    """`frames`, or the class of the error."""
    slowest_s: float = 0.0
    silent: list[str] = field(default_factory=list)
    """What ended without frames and without a reason."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A sound file of each kind, and real ones where they are at hand."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for name, options in KINDS.items():
        found[name] = make_video(folder / name, frames=12, size=(96, 64), **options).read_bytes()  # type: ignore[arg-type]
    clips = sorted(p for p in CLIPS.rglob("*") if p.is_file()) if CLIPS.exists() else []
    return found | {p.name: data for p in clips if len(data := p.read_bytes()) < MOST_CLIP_BYTES}


@pytest.fixture(scope="module")
def children() -> Iterator[tuple[Child, Child]]:
    with (
        Child("reelmill.pipeline.probe:measure", memory_bytes=LIMITS.memory_bytes) as prober,
        Child("reelmill.pipeline.extract.cut:cut", memory_bytes=LIMITS.memory_bytes) as cutter,
    ):
        yield prober, cutter


def look(path: Path, children: tuple[Child, Child]) -> str:
    """One file as the job takes it: measured, then cut. `frames`, or why not; or what is wrong with the answer."""
    prober, cutter = children
    try:
        (measured,) = prober.run({"path": str(path), "limits": LIMITS}, LIMITS.wall_seconds)
        facts = measured.facts
        assert 0 < facts["duration_ms"] <= 1000 * LIMITS.max_seconds
        assert 0 < facts["frame_count"] <= LIMITS.max_frames
        assert 0 < facts["width"] * facts["height"] <= LIMITS.max_pixels
        job = CutJob(str(path), facts["start_ms"], facts["duration_ms"], 200, PLANS, 32, LIMITS, facts["bytes"])
        *segments, tally = cutter.run(job, LIMITS.wall_seconds)
        assert isinstance(tally, Tally)
        cells = -(-facts["duration_ms"] // 200)
        assert all(isinstance(segment, CutSegment) and 0 <= segment.index < cells for segment in segments)
        return "frames" if any(0 in segment.cuts for segment in segments) else "silent"
    except VideoError as error:
        return error.error_class if str(error).strip() else "silent"


def fuzz(folder: Path, whole: dict[str, bytes], children: tuple[Child, Child], seeds: range) -> Figures:
    figures, names = Figures(), list(whole)
    for seed in seeds:
        rng = Random(seed)
        name = names[seed % len(names)]
        data = spoil_file(whole[name], rng, WORDS)
        if rng.random() < 0.05:  # the front of one, the rest of another
            other = whole[rng.choice(names)]
            data = data[: len(data) // 2] + other[len(other) // 2 :]
        path = folder / f"{seed}-{name}"
        path.write_bytes(data)
        began = time.monotonic()
        word = look(path, children)
        figures.slowest_s = max(figures.slowest_s, time.monotonic() - began)
        figures.tried += 1
        figures.classes[word] += 1
        if word in ("silent", "unknown"):
            figures.silent.append(path.name)
        else:
            path.unlink()
    return figures


def test_sound_files_give_frames(tmp_path: Path, whole: dict[str, bytes], children: tuple[Child, Child]) -> None:
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
        assert look(tmp_path / name, children) == "frames", name


@pytest.mark.timeout(280)
@pytest.mark.parametrize("count", [120, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(2400)])])
def test_spoilt_files_end_with_frames_or_a_reason(
    tmp_path: Path, whole: dict[str, bytes], children: tuple[Child, Child], count: int
) -> None:
    """A crash of a child is a class like others; a file that hangs would be `timed_out`, an error that nobody foresaw
    `unknown`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = fuzz(tmp_path, whole, children, range(count) if count < 1000 else range(1000, 1000 + count))
    print(figures)
    assert figures.tried == count
    assert not figures.silent
    assert not figures.classes["timed_out"] + figures.classes["killed"]
    assert figures.classes["frames"] > count / 10
    assert figures.classes["corrupt"] > count / 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
