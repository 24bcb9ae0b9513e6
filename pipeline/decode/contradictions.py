"""What a file says of itself against what was measured in it. A contradiction does not stop a video: it becomes an
outcome with a warning, which `reelmill status` and the report show.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

from reelmill.pipeline.decode.container import Scan
from reelmill.pipeline.decode.streams import Streams

RATE_SHARE = 0.05
"""Difference between measured and declared frames per second above which they contradict each other."""
LENGTH_S, LENGTH_SHARE = 2.0, 0.1
"""Difference between the lengths of picture and sound above which they contradict each other: both must be passed."""
MAX_ASPECT = 10
"""A pixel that is more often as wide as high (or the reverse) is an error of the file, and taken as square."""


@dataclass(frozen=True)
class Contradiction:
    """Two facts of a file that cannot both be right. The file is used all the same."""

    kind: str
    """Class of the warning in the table `outcomes`."""
    message: str


def sample_aspect(stream: av.VideoStream) -> tuple[Fraction, list[Contradiction]]:
    """Width of a pixel of the coded frame divided by its height; 1 if the file does not say, or cannot be right."""
    said = stream.sample_aspect_ratio
    if not said or said < 0:
        return Fraction(1), []
    if not 1 / MAX_ASPECT <= said <= MAX_ASPECT:
        told = f"a pixel is {said.numerator}:{said.denominator} as wide as high, by the header; taken as square"
        return Fraction(1), [Contradiction("pixel_shape", told)]
    return Fraction(said), []


def contradictions(
    container: av.container.InputContainer, stream: av.VideoStream, sound: av.AudioStream | None, packets: Scan
) -> Iterator[Contradiction]:
    """Of the chosen streams of a file, after all packets of its picture were read."""
    yield from _rates(stream, packets)
    if packets.jumps:  # the lengths in the headers are those of one part, or of all and the jumps
        yield _clock(packets)
    else:
        yield from _lengths(container, sound, packets)


def not_there(named: Streams, chosen: Streams) -> list[Contradiction]:
    """Streams that the settings name and that the file does not have."""
    return [
        Contradiction(
            "no_such_stream",
            f"extract.{kind}_stream is {number}, which is no {kind} stream of this file that can be decoded; "
            + (f"stream {vars(chosen)[kind]} is read" if vars(chosen)[kind] is not None else "it is read without"),
        )
        for kind, number in vars(named).items()
        if number not in (None, vars(chosen)[kind])
    ]


def _rates(stream: av.VideoStream, packets: Scan) -> list[Contradiction]:
    """Measured against declared frames per second. Most files do not hold the same rate everywhere, but one that
    declares a rate and has fewer frames than that has lost some, or its clock is wrong."""
    declared = stream.guessed_rate or stream.average_rate
    seconds = packets.whole_stop - packets.start
    if not stream.average_rate:  # then the other one is a guess: the unit of the clock, or of the codec's
        return []
    if not declared or seconds <= 0 or len(packets.times) < 2:
        return []
    measured = len(packets.times) / seconds
    if abs(measured / float(declared) - 1) <= RATE_SHARE:
        return []
    why = "pictures are held, or frames are missing" if measured < declared else "its times are too close together"
    told = f"{len(packets.times):,} frames in {seconds:.3f} s are {measured:.3f} a second, {float(declared):.3f} are "
    return [Contradiction("frame_rate", f"{told}declared: {why}")]


def _clock(packets: Scan) -> Contradiction:
    """Timestamps that go back or jump. What is behind such a place follows what is before it."""
    first, times = packets.jumps[0], "once" if len(packets.jumps) == 1 else f"{len(packets.jumps)} times, first"
    told = f"the clock of the file jumps {times} by {first.by_s:+.3f} s at {first.at_s - packets.start:.3f} s"
    return Contradiction("clock", f"{told}: its parts are put one after another")


def _lengths(
    container: av.container.InputContainer, sound: av.AudioStream | None, packets: Scan
) -> list[Contradiction]:
    """The length of the picture against what the headers say of the sound, or of the file as a whole."""
    measured = packets.whole_stop - packets.start
    if sound is not None and sound.duration and sound.time_base:
        what, said = "the sound", float(sound.duration * sound.time_base)
        begins = float((sound.start_time or 0) * sound.time_base)
    elif container.duration:
        what, said = "the file", container.duration / av.time_base
        begins = (container.start_time or 0) / av.time_base
    else:
        return []
    # Matroska, ASF and FLV write when the file ends on its clock, which may begin anywhere, as its length
    if min(abs(said - measured), abs(said - begins - measured)) <= max(LENGTH_S, LENGTH_SHARE * measured):
        return []
    return [Contradiction("length", f"the picture lasts {measured:.3f} s, {what} {said:.3f} s by its header")]
