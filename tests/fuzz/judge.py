"""A made film through the real probe and the real cutting, each in its process: what came of it, against the truth."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.errors import VideoError
from reelmill.pipeline.extract.cut import CutJob, CutSegment, CutWindows
from reelmill.pipeline.probe import aspect_of, streams_of
from reelmill.pipeline.process.child import Child
from tests.fuzz.films import BURST_S, SIZE, burst, read_code
from tests.fuzz.timelines import Film
from tests.fuzz.truth import Truth

LIMITS = Limits(max_seconds=600, max_frames=20_000, wall_seconds=30, memory_bytes=1 << 30)
GEOMETRY = Geometry(scale_to=(SIZE[1], SIZE[0]), crop=(SIZE[1], SIZE[0]))
STEP_MS = 100
NEIGHBOURS = 3
"""Pictures of a consecutive window."""
LONG = (4, 130)
"""Pictures of a longer window of given times, and milliseconds between them."""
TIMED, CONSECUTIVE, SPREAD, SOUND = 0, 1, 2, 3
PICTURES = {TIMED: FramePlan(GEOMETRY, Windows("timed", length=1, step_ms=STEP_MS)),
            CONSECUTIVE: FramePlan(GEOMETRY, Windows("consecutive", length=NEIGHBOURS)),
            SPREAD: FramePlan(GEOMETRY, Windows("timed", length=LONG[0], step_ms=LONG[1]))}  # fmt: skip
SOUND_EDGE_S = 0.08
"""Codecs begin and end with some of their own frames."""
SOUND_SLACK_S = 0.001
"""A burst may be this much early or late, and what the container rounds."""


@dataclass
class Verdict:
    """What came of a film: `right`, `wrong`, `silent` (wrong, and the facts say nothing of it), or `refused`."""

    film: Film
    word: str
    said: list[str] = field(default_factory=list)
    """The differences, or the class of the error and its reason."""
    warnings: list[str] = field(default_factory=list)
    """Facts of the file that contradict each other, as the probe has it."""


def judge(film: Film, path: Path, children: tuple[Child, Child]) -> Verdict:
    """Measure and cut a film; its file is written to `path`."""
    path.write_bytes(film.data)
    prober, cutter = children
    plans: dict[int, FramePlan | SoundPlan] = dict(PICTURES)
    if film.truth.rate is not None:
        plans[SOUND] = SoundPlan(film.truth.rate, least=1)
    segment_ms = Random(film.seed).choice((400, 1000, 1700))
    try:
        (measured,) = prober.run({"path": str(path), "limits": LIMITS}, LIMITS.wall_seconds)
        facts, warnings = measured.facts, [f"{one.kind}: {one.message}" for one in measured.contradictions]
        job = CutJob(
            str(path), facts["start_ms"], facts["duration_ms"], segment_ms, plans, SIZE[1], LIMITS, facts["bytes"],
            streams=streams_of(facts), aspect=aspect_of(facts),
        )  # fmt: skip
        *segments, _ = cutter.run(job, LIMITS.wall_seconds)
    except VideoError as error:
        return Verdict(film, "refused", [f"{error.error_class}: {error}"])
    if film.refused:
        return Verdict(film, "silent", ["no player opens this file"])
    said = list(_differences(film, facts, segments, segment_ms))
    if film.kind in ("steady", "wrap") and film.truth.regular:
        said += [f"a warning without reason: {one}" for one in warnings]
    return Verdict(film, ("wrong" if warnings else "silent") if said else "right", said, warnings)


def _differences(film: Film, facts: dict[str, Any], segments: list[CutSegment], segment_ms: int) -> Iterator[str]:
    """What differs from the truth, the facts first."""
    shown = list(_shown(segments, segment_ms))
    truth = _aligned(film.truth, shown)
    if isinstance(truth, str):
        yield truth
        return
    slack = (1.0 + truth.rounding_ms) / 1000
    duration, pictures = facts["duration_ms"] / 1000, len(truth.shown)
    if not -slack <= duration - truth.stop <= slack + truth.slack:
        yield f"duration {duration:.3f} s, not {truth.stop:.3f}"
    if not pictures <= facts["frame_count"] <= pictures + truth.partial:
        yield f"{facts['frame_count']} pictures, not {pictures}"
    gaps = np.diff([time for time, _ in truth.shown])
    even, uneven = np.ptp(gaps) < 0.0005, np.ptp(gaps) > 0.02
    whole = not truth.seams and not truth.partial
    if whole and ((even and facts["variable_rate"]) or (uneven and not facts["variable_rate"])):
        yield f"variable rate: {facts['variable_rate']}"
    for kind, name in ((TIMED, "timed"), (CONSECUTIVE, "consecutive"), (SPREAD, "spread")):
        got = {s.index for s in segments if kind in s.cuts}
        due = set(range(-(-facts["duration_ms"] // segment_ms)))
        sure = {n for n in due if n * segment_ms / 1000 < truth.sure}
        if not sure <= got <= due:
            yield f"{name} segments {sorted(got)}, not {sorted(due)}"
    yield from _pictures(truth, segments, segment_ms, facts["duration_ms"], slack)
    if truth.rate is not None:
        yield from _sound(truth, segments, segment_ms, facts["duration_ms"])


def _shown(segments: list[CutSegment], segment_ms: int) -> Iterator[tuple[int | None, float]]:
    """(index, begins) of every picture that is the first in a window and begins in the segment."""
    for segment in segments:
        for kind in PICTURES:
            if (cut := segment.cuts.get(kind)) is not None:
                for picture, start in zip(cut.values[:, 0], cut.start_ms, strict=True):
                    if start > segment.index * segment_ms:
                        yield read_code(picture), start / 1000


def _aligned(truth: Truth, shown: list[tuple[int | None, float]]) -> Truth | str:
    """The truth with each programme where it was found, if it may be there; else what is wrong."""
    for number in range(len(truth.seams)):
        programme, slack = truth.seams[number]
        until = truth.seams[number + 1][0] if number + 1 < len(truth.seams) else truth.stop
        begins = {index: time for time, index in truth.shown if programme - 1e-9 <= time < until - 1e-9}
        shifts = [start - begins[index] for index, start in shown if index in begins]
        if not shifts:
            return f"nothing is shown of programme {number + 1}, from {programme:.3f} s"
        shift = float(np.median(shifts))
        if abs(shift) > slack + 0.0015:
            return f"programme {number + 1} begins at {programme + shift:.3f} s, not {programme:.3f}"
        truth = truth.moved(programme, shift)
    return truth


def _pictures(
    truth: Truth, segments: list[CutSegment], segment_ms: int, duration_ms: int, slack: float
) -> Iterator[str]:
    """Of each segment, every picture at its time, for as long as it is on the screen, none from before or after."""
    for segment in segments:
        start, stop = segment.index * segment_ms, min((segment.index + 1) * segment_ms, duration_ms)
        if TIMED in segment.cuts:
            step = min(STEP_MS, stop - start)
            yield from _timed(truth, segment.cuts[TIMED], 1, step, start, stop, slack)
        if SPREAD in segment.cuts:
            yield from _timed(truth, segment.cuts[SPREAD], *LONG, start, stop, slack)
        if segment.picture is not None:
            time_ms, width, height, jpeg = segment.picture
            with Image.open(io.BytesIO(jpeg)) as image:
                index = read_code(np.asarray(image.convert("RGB")))
            if (width, height) != SIZE or not start <= time_ms < stop:
                yield f"segment {segment.index}: key frame {width}×{height} at {time_ms} ms"
            if time_ms / 1000 < truth.sure and index not in truth.near(time_ms / 1000, slack):
                yield f"segment {segment.index}: key frame at {time_ms} ms is {index}, not {truth.at(time_ms / 1000)}"
        if CONSECUTIVE in segment.cuts:
            yield from _consecutive(truth, segment.cuts[CONSECUTIVE], start, stop, slack)


def _timed(truth: Truth, cut: CutWindows, length: int, step: int, start: int, stop: int, slack: float) -> Iterator[str]:
    """Windows of `length` pictures, shown in the middles of cells of `step` ms; of a short segment one window, which
    ends with the last picture again. The mask tells that, and a window of nothing but the picture held from before."""
    count = max(int((stop - start) / (length * step) + 1e-9), 1)
    if count != len(cut.values):
        yield f"{len(cut.values)} windows from {start} to {stop} ms, not {count}"
        return
    for number, (window, padded) in enumerate(zip(cut.values, cut.padded, strict=True)):
        times = [start + (number * length + k + 0.5) * step for k in range(length)]
        shown = [min(time, stop - 0.5) / 1000 for time in times]
        if shown[0] > truth.until + slack and not padded:
            yield f"at {shown[0]:.3f} s mask whole, and the file has ended at {truth.until:.3f} s"
        if shown[-1] >= truth.sure:
            return
        codes = [read_code(picture) for picture in window]
        for time, index in zip(shown, codes, strict=True):
            if index not in truth.near(time, slack):
                yield f"at {time:.3f} s picture {index}, not {truth.at(time)}"
        (held,) = truth.places(start / 1000, 0.0)
        alone, began = set(codes) == {truth.shown[held][1]}, truth.shown[held][0] - start / 1000
        allowed = {alone and began < slack, alone and began < -slack}
        if times[-1] < stop and bool(padded) not in allowed:
            yield f"at {shown[0]:.3f} s mask {'padded' if padded else 'whole'}"
        if times[-1] >= stop and not padded:
            yield f"at {shown[0]:.3f} s mask whole, and the window ends at {times[-1]} ms of {stop}"


def _consecutive(truth: Truth, cut: CutWindows, start: int, stop: int, slack: float) -> Iterator[str]:
    """Windows of neighbours among the pictures on the screen in the segment, the first of them perhaps held from before
    it; of fewer than a window takes, the last one again."""
    if stop / 1000 >= truth.sure:
        return
    rows = [[read_code(picture) for picture in row] for row in cut.values]
    firsts, lasts = truth.places(start / 1000, slack), truth.places(stop / 1000 - 0.0005, slack)
    for first, last in product(sorted(firsts), sorted(lasts)):
        count = last - first + 1
        begins = range(first, last - NEIGHBOURS + 2, NEIGHBOURS) if count >= NEIGHBOURS else [first]
        due = [[min(at + k, last) for k in range(NEIGHBOURS)] for at in begins]
        if rows == [[truth.shown[place][1] for place in row] for row in due]:
            break
    else:
        shown = f"{truth.at(start / 1000)} to {truth.at(stop / 1000)}"
        yield f"from {start} to {stop} ms windows of {rows}; on the screen: {shown}"
        return
    if set(cut.padded.tolist()) != {count < NEIGHBOURS}:
        yield f"from {start} to {stop} ms masks {cut.padded.tolist()} of {rows}"
    for row, began, ended in zip(due, cut.start_ms, cut.stop_ms, strict=True):
        since, until = max(truth.interval(row[0])[0], start / 1000), min(truth.interval(row[-1])[1], stop / 1000)
        if abs(began / 1000 - since) > slack or abs(ended / 1000 - until) > slack:
            yield f"a window from {began} to {ended} ms, not {since:.3f} to {until:.3f} s"


def _sound(truth: Truth, segments: list[CutSegment], segment_ms: int, duration_ms: int) -> Iterator[str]:
    rate = truth.rate
    assert rate is not None
    wave = np.full(-(-duration_ms * rate // 1000) + segment_ms * rate // 1000 + 2, np.nan, np.float32)
    for segment in segments:
        if (cut := segment.cuts.get(SOUND)) is not None:
            row = cut.values[0]
            row = row[~np.isinf(row)]  # NO_TIME
            first = -(-segment.index * segment_ms * rate // 1000)
            wave[first : first + len(row)] = row
    heard = np.isfinite(wave)
    stop = min(truth.stop, duration_ms / 1000, truth.heard)
    for begins, ends in truth.spans:
        first, last = max(begins + SOUND_EDGE_S, 0.0), min(ends - SOUND_EDGE_S, stop)
        inside = heard[round(first * rate) : round(last * rate)] if last > first else heard[:0]
        if len(inside) and not inside.all():
            silent = first + int(np.argmin(inside)) / rate
            yield f"no sound at {silent:.3f} s; there is from {begins:.3f} to {ends:.3f} s"
    edges = [0.0, *(edge for span in truth.spans for edge in span), stop]
    for begins, ends in zip(edges[::2], edges[1::2], strict=True):
        first, last = begins + SOUND_EDGE_S, min(ends, stop) - SOUND_EDGE_S
        outside = heard[round(first * rate) : round(last * rate)] if last > first else heard[:0]
        if outside.any():
            yield f"sound at {first + int(np.argmax(outside)) / rate:.3f} s, where there is none"
    found = [time for time in _bursts(np.nan_to_num(wave), rate) if time < stop - BURST_S]
    due = [time for time in truth.bursts if time < stop - BURST_S]
    slack = SOUND_SLACK_S + truth.rounding_ms / 2000
    if len(found) != len(due) or any(abs(a - b) > slack for a, b in zip(found, due, strict=True)):
        yield f"bursts at {[round(t, 4) for t in found]}, not {[round(t, 4) for t in due]}"


def _bursts(wave: np.ndarray, rate: int) -> list[float]:
    """When bursts begin."""
    pattern = burst(rate)
    alike = np.correlate(wave, pattern, "valid") / float(pattern @ pattern)
    found, reach = [], round(0.03 * rate)
    while alike.size and alike.max() > 0.5:
        at = int(alike.argmax())
        found.append(at / rate)
        alike[max(0, at - reach) : at + reach] = 0
    return sorted(found)
