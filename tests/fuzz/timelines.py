"""Films with a drawn timeline, and what a player shows of them: `film(seed)`.

    steady      constant rate, any container
    holds       a picture is held for up to some seconds, several times
    drops       pictures are missing
    variable    no two pictures are shown equally long
    gap         nothing of the sound is stored for a while
    resets      two or three programmes one behind the other, each with the clock from its own start
    jumps       the same, the clock jumps forward; by less than ten seconds the last picture is held
    wrap        a clock of 33 bits passes its end
    edit        an edit list hides the front, the tail, or a part in the middle
    cut         the end of the file is missing

The truth is the plan. Where a container cannot hold it, the generator knows what it holds: AVI counts pictures and has
no clock; Matroska, WebM, FLV and ASF count milliseconds.
"""

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random

from tests.fuzz.films import Plan, Sound, Written, content_ends, write
from tests.fuzz.plans import CONTAINERS, INTRA, describe, draw, like, times_of
from tests.fuzz.truth import Truth, join, of_plan

SEAM_S = 0.15
"""Sound of a programme may end this much before or after its picture: some frames of a codec."""
CLOCK_33 = Fraction(1 << 33, 90_000)
"""Seconds after which a clock of MPEG begins again."""


@dataclass(frozen=True)
class Film:
    seed: int
    kind: str
    suffix: str
    data: bytes
    truth: Truth
    how: str
    """The plan in words."""
    refused: bool = False
    """No player opens it."""


def film(seed: int) -> Film:
    """The same for a seed each time, but for what another version of an encoder makes of it."""
    rng = Random(f"film-{seed}")
    kind = list(KINDS)[seed % len(KINDS)]
    name = rng.choice([name for name, container in CONTAINERS.items() if kind in container.kinds])
    return KINDS[kind](seed, kind, name, rng)


def _simple(seed: int, kind: str, name: str, rng: Random) -> Film:
    plan = draw(name, kind, rng)
    written = write(plan)
    return Film(
        seed, kind, CONTAINERS[name].suffix, written.data, of_plan(plan, delay=_delay(plan, written)), describe(plan)
    )


def _delay(plan: Plan, written: Written) -> float:
    """AVI has no clock: sound begins with its first packet, and what an encoder puts in front is heard."""
    return written.sound_delay if plan.format == "avi" else 0.0


def _programmes(seed: int, kind: str, name: str, rng: Random) -> Film:
    """Programmes of one kind behind one another. The clock of each begins anew, or jumps."""
    plan = draw(name, kind, rng, pictures=(15, 45))
    if kind == "jumps" and plan.clock < 1:  # else the muxer moves the first programme, so that no time is negative
        plan = dataclasses.replace(plan, clock=plan.clock + 1)
    data, truth, how = write(plan).data, of_plan(plan), describe(plan)
    seam, other = 0.0, Random(f"seam-{seed}")
    for number in range(1, rng.choice((2, 2, 3))):
        length = rng.randint(15, 45)
        times = times_of(kind, name, plan.rate, length, rng)
        clock, pause = _next_clock(plan, kind, number, rng, other)
        seam += float(plan.stop) + pause
        plan = dataclasses.replace(plan, times=times, first_index=plan.first_index + len(plan.times), clock=clock)
        plan = dataclasses.replace(plan, sound=plan.sound and like(plan, kind, plan.sound, rng))
        slack = max(float(plan.last) + 0.002, SEAM_S if plan.sound else 0.0)
        data += write(plan).data
        truth = join(truth, of_plan(plan, seam), seam, 0.0 if pause else slack)
        how += f" + {describe(plan)}"
    return Film(seed, kind, CONTAINERS[name].suffix, data, truth, how)


def _next_clock(plan: Plan, kind: str, number: int, rng: Random, other: Random) -> tuple[Fraction, float]:
    """Of the next programme, and by how much later it begins than this one ends, because its clock says so."""
    if kind == "jumps":
        jump = rng.choice((rng.randint(11, 60), rng.randint(60, 7200)))
        if other.random() < 0.25 and plan.format == "mpegts":
            # too short for a clock that jumped: nothing was sent for a while
            pause = Fraction(other.randint(200, 8000), 1000)
            return plan.clock + plan.stop + pause, float(pause)
        return plan.clock + plan.stop + jump, 0.0
    anew = Fraction(rng.choice((0, 0, rng.randint(0, 2000))), 1000)
    if other.random() < 0.25:
        return plan.clock + plan.stop * Fraction(other.randint(0, 50), 100), 0.0
    return min(plan.clock, anew) if number == 1 else plan.clock, 0.0


def _wrap(seed: int, kind: str, name: str, rng: Random) -> Film:
    plan = draw(name, kind, rng)
    plan = dataclasses.replace(plan, clock=CLOCK_33 - plan.stop * Fraction(rng.randint(-20, 120), 100))
    return Film(seed, kind, CONTAINERS[name].suffix, write(plan).data, of_plan(plan), describe(plan))


def _edit(seed: int, kind: str, name: str, rng: Random) -> Film:
    """The edit list of the picture is changed: pictures in front, at the end, or in the middle are not shown."""
    plan = draw(name, kind, rng, pictures=(25, 70))
    plan = dataclasses.replace(plan, clock=Fraction(0), sound=plan.sound and _at_zero(plan.sound))
    n = len(plan.times)
    front = rng.choice((0, rng.randint(1, n // 3)))
    tail = rng.choice((0, rng.randint(1, n // 3))) if front else rng.randint(1, n // 3)
    middle = (n // 3 + 1, n // 2 + 2) if rng.random() < 0.3 and plan.sound is None else None
    if plan.b_frames:  # libavformat shows pictures of a second part too late where their order is not that of decoding
        middle = None
    ends = (*plan.times, plan.stop)
    parts = [(front, n - tail)] if middle is None else [(front, middle[0]), (middle[1], n - tail)]
    edits = [(ends[stop] - ends[start], ends[start]) for start, stop in parts]
    shown, after = [], Fraction(0)
    for (start, stop), (lasts, _) in zip(parts, edits, strict=True):
        shown += [(float(after + plan.times[k] - plan.times[start]), k) for k in range(start, stop)]
        after += lasts
    whole = of_plan(plan)
    truth = dataclasses.replace(
        whole, shown=tuple(shown), stop=float(after), sure=float(after), rounding_ms=1.0,
        bursts=tuple(time for time in whole.bursts if time < float(after) - 0.11),
    )  # fmt: skip
    if plan.sound is not None:
        near = tuple(time for time in plan.sound.bursts if abs(time - float(after)) > 0.11)
        plan = dataclasses.replace(plan, sound=dataclasses.replace(plan.sound, bursts=near))
    data = edited(write(plan).data, edits)
    return Film(seed, kind, CONTAINERS[name].suffix, data, truth, f"{describe(plan)}; shown: pictures {parts}")


def _at_zero(sound: Sound) -> Sound:
    moved = tuple(time - float(sound.start) for time in sound.bursts)
    return dataclasses.replace(sound, start=Fraction(0), bursts=tuple(time for time in moved if time > 0.1))


def edited(data: bytes, edits: list[tuple[Fraction, Fraction]]) -> bytes:
    """An MP4 whose first edit list, that of the picture, shows these parts: (seconds, from where). `moov` is last, so
    that no offset into the file changes."""
    moov = data.rindex(b"moov") - 4
    movie = _number(data, data.index(b"mvhd", moov) + 16)
    track = data.index(b"trak", moov) - 4
    media = _number(data, data.index(b"mdhd", track) + 16)
    edts = data.index(b"edts", track) - 4
    elst = data.index(b"elst", edts) - 4
    began = _number(data, elst + 20)  # media time of the first picture: what B-frames put in front
    entries = [struct.pack(">IiI", int(lasts * movie), began + round(start * media), 1 << 16) for lasts, start in edits]
    new = struct.pack(">I4sII", 16 + 12 * len(entries), b"elst", 0, len(entries)) + b"".join(entries)
    new = struct.pack(">I4s", 8 + len(new), b"edts") + new
    grown = len(new) - _number(data, edts)
    out = bytearray(data[:edts] + new + data[edts + _number(data, edts) :])
    for box in (moov, track):
        struct.pack_into(">I", out, box, _number(data, box) + grown)
    return bytes(out)


def _number(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])


def _cut(seed: int, kind: str, name: str, rng: Random) -> Film:
    """The file ends early. A picture is there if all its bytes are; one that is cut may be shown or not."""
    plan = draw(name, rng.choice(("cut", "holds")), rng)
    options = dict(plan.options)
    how = ""
    if name in ("mp4", "mov"):
        parts = "frag_keyframe+empty_moov" if plan.codec not in INTRA and plan.key_every < 100 else "faststart"
        how = rng.choice(("faststart", parts, parts, ""))
        if how:
            options["movflags"] = how
    plan = dataclasses.replace(plan, options=tuple(options.items()))
    if how.startswith("frag"):  # without an edit list, which tells where picture and sound begin
        plan = dataclasses.replace(plan, clock=Fraction(0), sound=None)
    written = write(plan)
    ends = content_ends(written, plan)
    least = plan.key_every + 1 if how.startswith("frag") else max(3, plan.b_frames + 3)  # one whole fragment
    keep = rng.randint(min(least, len(ends) - 2), len(ends) - 2)
    at = rng.randint(ends[keep - 1], ends[keep] - 1)
    there = sorted(written.order[:keep])
    whole = of_plan(plan, delay=_delay(plan, written))
    shown = tuple((whole.shown[k][0], whole.shown[k][1]) for k in there)
    gone = min(set(range(len(plan.times))) - set(there))
    listed = name in ("mp4", "mov") and how == "faststart"
    following = (*(float(t) for t in plan.times), float(plan.stop), float(plan.stop))
    follows = following[there[-1] + 1]  # few containers say how long the last one there was to be shown
    stop = min(follows, shown[-1][0] + (0.01 if whole.slack else float(1 / plan.rate)))
    fragment = whole.stop - follows if how.startswith("frag") else 0.0  # it lists its pictures, some may be missing
    truth = dataclasses.replace(
        whole,
        shown=shown,
        stop=whole.stop if listed else stop,
        sure=min(float(plan.times[gone]), shown[-1][0]),
        partial=1,
        until=following[max(written.order[: keep + 1]) + 1],
        heard=float(plan.times[max(keep - 3 - plan.b_frames, 0)]) - 0.5,
        slack=whole.slack if listed else follows - stop + fragment + 2 * max(b - a for a, b in pairwise(following)),
    )
    return Film(seed, kind, CONTAINERS[name].suffix, written.data[:at], truth,
                f"{describe(plan)} {how}; cut at byte {at} of {len(written.data)}: {keep} packets",
                refused=name in ("mp4", "mov") and not how)  # fmt: skip


KINDS: dict[str, Callable[[int, str, str, Random], Film]] = {
    "steady": _simple, "holds": _simple, "drops": _simple, "variable": _simple, "gap": _simple,
    "resets": _programmes, "jumps": _programmes, "wrap": _wrap, "edit": _edit, "cut": _cut,
}  # fmt: skip
