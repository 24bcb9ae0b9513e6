"""Clocks that are reset or jump are one timeline, for picture and sound; gaps, offsets and B-frames are left alone."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Decoder, Limits, Tally, frames, open_video, scan
from reelmill.pipeline.decode.excerpt import excerpt
from reelmill.pipeline.decode.programmes import Repair
from reelmill.pipeline.errors import Unsupported
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.probe import examine, probe
from tests.media import indexed_frame, read_index
from tests.optional import needs
from tests.sounds import click_times

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATE = 48_000
HOUR = 3600.0
SMALL = Geometry(crop=(60, 80), scale_to=(60, 80))


def programme(
    path: Path,
    first: int = 0,
    count: int = 150,
    *,
    clock: float = 0.0,
    clicks: tuple[float, ...] = (1.0, 3.0, 5.0),
    silent: tuple[float, float] = (0.0, 0.0),
    still: range = range(0),
    sound: float | None = 0.0,
    gop: int = 50,
    parts: int = 1,
    leap: float = 0.0,
    **options: Any,
) -> Path:
    """A file of `count` frames, 25 a second, with B-frames, and sound with clicks at these times.

    first: index of the first frame. clock: its timestamp. silent: no sound in this range. still: no frames with these
    numbers. sound: when it begins, None for no sound. leap: by how much the clock leaps between each of `parts` parts.
    """
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream("libx264", rate=25, options={"threads": "1", "bf": "2", "g": str(gop)})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        seconds = count / 25
        wave = np.zeros(round(seconds * RATE), np.float32)
        for click in clicks:
            begin = round(click * RATE)
            wave[begin : begin + 480] = 0.8 * np.cos(2 * np.pi * 1000 * np.arange(480) / RATE)
        packets = []
        for number in range(count):
            if number not in still:
                frame = av.VideoFrame.from_ndarray(indexed_frame(first + number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None and sound is not None:
            for begin in range(round(sound * RATE), len(wave) - 1023, 1024):
                if silent[0] <= begin / RATE < silent[1]:
                    continue
                piece = av.AudioFrame.from_ndarray(wave[None, begin : begin + 1024], format="fltp", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = RATE, begin, Fraction(1, RATE)
                packets += audio.encode(piece)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            part = int(packet.pts * packet.time_base / (Fraction(count, 25) / parts))
            ticks = round(Fraction(clock + leap * part) / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            out.mux(packet)
    return path


def joined(path: Path, *programmes: Path) -> Path:
    path.write_bytes(b"".join(one.read_bytes() for one in programmes))
    return path


def two(folder: Path, kind: str, **second: Any) -> Path:
    """Two programmes of 6 s, whose clocks both begin at 0: frames 0 to 149, and 150 to 299."""
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if kind == "mp4" else {}
    one, other = programme(folder / f"1.{kind}", **flags), programme(folder / f"2.{kind}", 150, **flags, **second)
    if kind == "mp4":  # the fragments of the second one behind those of the first, as behind one EXT-X-MAP
        data = other.read_bytes()
        other.write_bytes(data[data.index(b"moof") - 4 :])
    if kind == "flv":  # one header
        other.write_bytes(other.read_bytes()[13:])
    return joined(folder / f"both.{kind}", one, other)


def facts_of(path: Path) -> tuple[int, int, list[tuple[float, int]], list[float]]:
    """Duration, frames, (time, index) of each frame as decoded, and when clicks are heard, all through one cut."""
    facts = probe(path)
    start = facts["start_ms"] / 1000
    seen = [
        (time, read_index(frame.to_ndarray(format="rgb24")))
        for time, _, frame in frames(path, "pyav", start, Limits(), Tally())
    ]
    plans = {0: SoundPlan(RATE, least=1024), 1: FramePlan(SMALL, Windows("timed", 1, step_ms=1000))}
    *segments, _ = cut(CutJob(str(path), facts["start_ms"], facts["duration_ms"], 5000, plans))
    heard = [
        segment.index * 5 + time
        for segment in segments
        if isinstance(segment, CutSegment) and 0 in segment.cuts
        for time in click_times(segment.cuts[0].values[0], RATE)
    ]
    pictures = {segment.index for segment in segments if isinstance(segment, CutSegment) and 1 in segment.cuts}
    assert pictures == set(range(-(-facts["duration_ms"] // 5000)))
    return facts["duration_ms"], facts["frame_count"], seen, heard


WHOLE = [(40.0 * i, i) for i in range(300)]
"""300 frames in 12 s."""


@pytest.mark.parametrize("kind", ["ts", "mp4", "flv"])
def test_a_clock_that_is_reset_goes_on(tmp_path: Path, kind: str) -> None:
    duration, count, seen, heard = facts_of(two(tmp_path, kind, clicks=(2.0, 4.0)))
    assert (duration, count, seen) == (12_000, 300, WHOLE)
    assert heard == pytest.approx([1, 3, 5, 8, 10], abs=0.03)  # of AAC's own delay


def test_a_clock_that_jumps_by_an_hour_goes_on(tmp_path: Path) -> None:
    path = programme(tmp_path / "jump.ts", count=300, clicks=(1.0, 5.0, 7.0, 11.0), parts=2, leap=HOUR)
    duration, count, seen, heard = facts_of(path)
    assert (duration, count, seen) == (12_000, 300, WHOLE)
    assert heard == pytest.approx([1, 5, 7, 11], abs=0.03)
    with open_video(path, Limits()) as (container, stream):
        (jump,) = scan(container, stream, Limits()).jumps
    assert (jump.by_s, jump.at_s) == (pytest.approx(HOUR, abs=0.2), pytest.approx(6, abs=0.2))


def test_a_clock_that_jumps_is_a_warning(tmp_path: Path) -> None:
    (warning,) = examine(two(tmp_path, "ts")).contradictions
    assert warning.kind == "clock"
    assert warning.message == (
        "the clock of the file jumps once by -6.000 s at 5.920 s: its parts are put one after another"
    )


@pytest.mark.parametrize("leap", [-40.0, -3.0, 11.0, 25.0])
def test_other_steps_and_many_of_them(tmp_path: Path, leap: float) -> None:
    """Four parts of 3 s, in a file whose clock begins at 200 s."""
    path = programme(tmp_path / "steps.ts", count=300, clicks=(1.0, 4.0, 7.0, 10.0), clock=200, parts=4, gop=25)
    parts = [programme(tmp_path / f"{i}.ts", 75 * i, 75, clicks=(1.0,), clock=200 + (3 + leap) * i) for i in range(4)]
    for file in (joined(path, *parts),):
        duration, count, seen, heard = facts_of(file)
        assert (duration, count, seen) == (12_000, 300, WHOLE)
        assert heard == pytest.approx([1, 4, 7, 10], abs=0.05)


@pytest.mark.parametrize("clock", [2**33 / 90_000 - 3, 2**33 / 90_000 - 10, 26 * HOUR])
def test_a_clock_of_33_bits_wraps(tmp_path: Path, clock: float) -> None:
    """After 26.5 hours, MPEG-TS counts from 0 again."""
    assert facts_of(programme(tmp_path / "wrap.ts", count=300, clicks=(2.0, 8.0), clock=clock))[:3] == (
        12_000,
        300,
        WHOLE,
    )


GAPS: dict[str, dict[str, Any]] = {
    "picture only": {"still": range(50, 450)},
    "sound only": {"silent": (2.0, 18.0)},
    "sound begins late": {"sound": 11.5},
    "no gap": {},
}


@pytest.mark.parametrize("kind", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("gap", GAPS)
def test_gaps_and_offsets_stay(tmp_path: Path, kind: str, gap: str) -> None:
    """16 s without a picture, or without sound, while the other goes on."""
    path = programme(tmp_path / f"gap.{kind}", count=500, clicks=(1.0, 12.0, 19.0), **GAPS[gap])
    duration, _, seen, heard = facts_of(path)
    still = GAPS[gap].get("still", range(0))
    assert (duration, seen) == (20_000, [(40.0 * i, i) for i in range(500) if i not in still])
    there = {"sound only": [1, 19], "sound begins late": [12, 19]}.get(gap, [1, 12, 19])
    assert heard == pytest.approx(there, abs=0.03)


def test_a_long_pause_in_matroska_is_a_pause(tmp_path: Path) -> None:
    """Its clock cannot jump."""
    path = programme(tmp_path / "pause.mkv", count=500, sound=None, still=range(50, 450))
    duration, _, seen, _ = facts_of(path)
    assert (duration, seen[49:51]) == (20_000, [(1960, 49), (18_000, 450)])


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_other_decoders_refuse_a_clock_that_is_reset(tmp_path: Path, decoder: Decoder) -> None:
    """Before the library is loaded: it would mix the two programmes."""
    path = two(tmp_path, "ts")
    with pytest.raises(Unsupported, match=rf"1 places, which {decoder} does not repair; use `extract\.decoder: pyav`"):
        next(frames(path, decoder, 1.48, Limits(), Tally()))


def test_an_excerpt_is_not_sought_by_a_clock_that_is_reset(tmp_path: Path) -> None:
    path = two(tmp_path, "ts")
    start = probe(path)["start_ms"] / 1000
    seen = list(excerpt(path, start, 11_000, Limits(), Tally()))
    assert [(time, read_index(frame.to_ndarray(format="rgb24"))) for time, frame in seen] == WHOLE


Steps = list[tuple[int, float]]
"""(stream, decoding time) of the packets of a file, each 0.1 s long."""


def steps(stream: int, start: float, count: int = 10) -> Steps:
    return [(stream, start + 0.1 * i) for i in range(count)]


def placed(given: Steps, may_jump: bool = True) -> tuple[Steps, int]:
    """The times after the repair, and the number of jumps."""
    repair = Repair(may_jump)
    return [(s, round(time + repair.shift(s, time, 0.1), 3)) for s, time in given], len(repair.jumps)


def mixed(*streams: Steps) -> Steps:
    return [packet for group in zip(*streams, strict=True) for packet in group]


@pytest.mark.parametrize("late", [0, 1, 3])
def test_the_last_packets_of_a_programme_may_come_late(late: int) -> None:
    """A demuxer knows that a picture is complete when the next one begins, so the sound of the next programme may come
    before the last pictures of this one."""
    pictures, sounds = steps(0, 5), steps(1, 5.02)
    given = mixed(pictures, sounds) + mixed(steps(1, 0.02), steps(0, 0))
    given = [packet for packet in given if packet not in pictures[10 - late :]]
    given[20 - late + 1 : 20 - late + 1] = pictures[10 - late :]
    found, jumps = placed(given)
    assert jumps == 1
    assert [time for s, time in found if s == 1] == pytest.approx([5.02 + 0.1 * i for i in range(20)])
    assert [time for s, time in found if s == 0] == pytest.approx([5 + 0.1 * i for i in range(20)])


def test_both_streams_share_a_shift() -> None:
    found, jumps = placed(mixed(steps(0, 5), steps(1, 5.02)) + mixed(steps(0, 0), steps(1, 0.5)))
    assert (jumps, found[20:24]) == (1, [(0, 6.0), (1, 6.5), (0, 6.1), (1, 6.6)])


def test_a_programme_follows_the_longer_stream_of_the_one_before() -> None:
    first = mixed(steps(0, 5), steps(1, 5)) + steps(0, 6, 20)
    found, jumps = placed(first + mixed(steps(1, 0), steps(0, 0)))
    assert (jumps, found[40:44]) == (1, [(1, 8.0), (0, 8.0), (1, 8.1), (0, 8.1)])


def test_one_stream_alone_is_reset() -> None:
    found, jumps = placed(mixed(steps(0, 5, 20), steps(1, 5) + steps(1, 0)))
    assert (jumps, [t for s, t in found if s]) == (1, [t for s, t in found if not s])


@needs("data", CASES.exists())
def test_the_case_of_the_list() -> None:
    path = CASES / "hls_disc.ts"
    duration, count, seen, heard = facts_of(path)
    assert (duration, count, [time for time, _ in seen]) == (12_000, 300, [40.0 * i for i in range(300)])
    assert heard, "sound"
    assert max(heard) > 6
