"""What a player shows of a made film, from its plan alone."""

import dataclasses
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from tests.fuzz.films import Plan
from tests.fuzz.plans import CONTAINERS


@dataclass(frozen=True)
class Truth:
    """What a player shows, in seconds from the first picture."""

    shown: tuple[tuple[float, int], ...]
    """(when it comes on the screen, index) of every picture, ascending."""
    stop: float
    """When the last picture leaves the screen."""
    rounding_ms: float
    """By how much the container rounds these times."""
    bursts: tuple[float, ...] = ()
    """When the bursts begin that are between the first and the last picture."""
    spans: tuple[tuple[float, float], ...] = ()
    """When there is sound."""
    sure: float = 0.0
    """Until when content is complete: later than this something may be missing. `stop` unless the file was cut."""
    rate: int | None = None
    """Samples per second of the sound."""
    until: float = float("inf")
    """When the last picture that may be shown leaves the screen; what the index lists after it is missing."""
    heard: float = float("inf")
    """Until when sound is complete."""
    slack: float = 0.0
    """Seconds by which the end may be later: the length of the last picture is not in the file."""
    partial: int = 0
    """Pictures that are in the file in part."""
    seams: tuple[tuple[float, float], ...] = ()
    """(when, seconds) for each programme but the first: it may be that much earlier or later as a whole. Its clock says
    nothing of the one before it, and players let go on without a gap what comes first, sound or picture."""

    @property
    def regular(self) -> bool:
        """Whether all pictures are shown equally long."""
        times = [*(begin for begin, _ in self.shown), self.stop]
        gaps = [b - a for a, b in pairwise(times)]
        return max(gaps) - min(gaps) < 0.002

    def at(self, time: float) -> int:
        """Index of the picture on the screen."""
        (place,) = self.places(time, 0.0)
        return self.shown[place][1]

    def near(self, time: float, slack: float) -> set[int]:
        """Indices of the pictures on the screen within `slack` seconds."""
        return {self.shown[place][1] for place in self.places(time, slack)}

    def places(self, time: float, slack: float) -> set[int]:
        """Places of the pictures on the screen within `slack` seconds."""
        begins = [begin for begin, _ in self.shown]
        return {max(bisect_right(begins, t + 1e-9) - 1, 0) for t in (time - slack, time, time + slack)}

    def interval(self, place: int) -> tuple[float, float]:
        """When the picture at this place is on the screen."""
        return self.shown[place][0], self.shown[place + 1][0] if place + 1 < len(self.shown) else self.stop

    def moved(self, seam: float, by: float) -> "Truth":
        """With everything from this time on moved."""

        def move(time: float) -> float:
            return time + by if time >= seam - 1e-9 else time

        return dataclasses.replace(
            self,
            shown=tuple((move(time), index) for time, index in self.shown),
            stop=move(self.stop),
            sure=move(self.sure),
            heard=move(self.heard),
            bursts=tuple(map(move, self.bursts)),
            spans=tuple((move(begins), move(ends) if begins >= seam - 1e-9 else ends) for begins, ends in self.spans),
            seams=tuple((move(time) if time > seam else time, slack) for time, slack in self.seams),
        )


def of_plan(plan: Plan, after: float = 0.0, delay: float = 0.0) -> Truth:
    """Of a programme that begins at `after`, whose sound is `delay` later than planned."""
    container = CONTAINERS[plan.format]
    shown = tuple((after + float(time), plan.first_index + n) for n, time in enumerate(plan.times))
    stop = after + float(plan.stop)
    truth = Truth(shown, stop, container.rounding_ms, sure=stop)
    if not container.lengths or (plan.format, plan.codec) == ("mpegts", "mpeg4"):  # it names no rate
        unknown = (1 + plan.b_frames) * max(b - a for (a, _), (b, _) in pairwise(shown))
        truth = dataclasses.replace(truth, stop=shown[-1][0] + 0.01, sure=shown[-1][0], slack=unknown)
    elif plan.format in ("mp4", "mov") and plan.b_frames:
        # the lengths of its packets are those of decoding, and only the edit list tells when the last picture ends
        truth = dataclasses.replace(
            truth, stop=shown[-1][0] + 0.002, sure=shown[-1][0], slack=max(0.2, float(3 / plan.rate))
        )
    if (sound := plan.sound) is None:
        return truth
    begins, ends = after + float(sound.start) + delay, after + float(sound.start) + sound.seconds + delay
    spans = [(begins, ends)]
    if sound.gap is not None:
        edge = after + sound.gap[0] + delay
        spans = [(begins, edge), (edge + sound.gap[1], ends + sound.gap[1])]
    bursts = tuple(t for time in sound.bursts if after <= (t := after + time + delay) < stop)
    return dataclasses.replace(truth, bursts=bursts, spans=tuple(spans), rate=sound.rate)


def join(one: Truth, other: Truth, seam: float, slack: float) -> Truth:
    """Of a programme and the one behind it, which begins at `seam`, give or take `slack` seconds."""
    return dataclasses.replace(
        one, shown=one.shown + other.shown, stop=other.stop, sure=other.sure, bursts=one.bursts + other.bursts,
        spans=one.spans + other.spans, seams=(*one.seams, (seam, slack)),
    )  # fmt: skip
