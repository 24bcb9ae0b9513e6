"""Programmes of a file: parts between which its clock is reset or jumps, and by how much each is shifted so that they
follow one another. Only times, no media files; `timeline` has the rules in words, and reads the files."""

from dataclasses import dataclass, field

BACK_S = 0.1
"""A decoding time that is earlier than the previous one of its stream by more than this is a reset, in every format:
decoding times never go back. (ffmpeg: AV_TIME_BASE / 10.)"""
FORWARD_S = 10.0
"""A gap longer than this is a jump of the clock, in formats whose clock may jump (MPEG-TS and -PS, Ogg), if no other
stream has packets in it. (ffmpeg: -dts_delta_threshold 10.) In other formats it is a picture that is held."""
LAG_S = 0.5
"""If the picture of a programme ends earlier than its sound by more than this, the next one follows the sound."""


@dataclass(frozen=True)
class Jump:
    """A place where the clock of a file was reset, or jumped."""

    at_s: float
    """Where, on the repaired timeline, in seconds."""
    by_s: float
    """By how many seconds the timestamps of the file jumped; negative: back."""


@dataclass
class _Clock:
    """The newest packet of one stream."""

    programme: int = 0
    latest: float | None = None
    """Its decoding time, as in the file."""
    expected: float = 0.0
    """Its end, as in the file: when the next one should come."""


@dataclass
class Repair:
    """Shifts of time by which the programmes of a file follow one another."""

    may_jump: bool
    """Whether a long gap is a jump of the clock."""
    picture: int | None = None
    """The stream that begins programmes; None: each may."""
    fixed: bool = False
    """Whether the clock can neither be reset nor jump."""
    shifts: list[float] = field(default_factory=lambda: [0.0])
    """Seconds to add to the timestamps of each programme."""
    jumps: list[Jump] = field(default_factory=list)
    _clocks: dict[tuple[int, bool], _Clock] = field(default_factory=dict)

    def shift(
        self, stream: int, time: float, lasting: float, exact: bool = True, patient: bool = False
    ) -> float | None:
        """Seconds to add to the timestamps of a stream's next packet in the file.

        time, lasting: when the packet is decoded, and how long it lasts, in seconds. `exact`: `time` is a decoding
        time; otherwise it is a presentation time, which goes back by some frames all the time, so that it is compared
        with others of its kind only. `patient`: give None, and forget the packet, if it is not of the picture and
        would begin a programme.
        """
        clock = self._clocks.setdefault((stream, exact), _Clock(len(self.shifts) - 1))
        if clock.latest is not None:
            least = clock.latest - clock.expected - (BACK_S if exact else FORWARD_S)
            gaps = {p: self._gap(clock, p, time) for p in range(clock.programme, len(self.shifts))}
            gap = gaps[clock.programme]
            if self.may_jump and gap > FORWARD_S and not self._filled(clock, stream, time):
                del gaps[clock.programme]
            fitting = [p for p, gap in gaps.items() if gap >= least]
            if not fitting and not self.fixed:
                if patient and self.picture not in (None, stream):
                    return None
                self.jumps.append(Jump(clock.expected + self.shifts[clock.programme], time - clock.expected))
                self.shifts.append(self.shifts[clock.programme] - gap + self._lag(clock))
                fitting = [len(self.shifts) - 1]
            clock.programme = min(fitting or [clock.programme], key=lambda p: abs(gaps.get(p, 0.0)))
        clock.latest, clock.expected = time, time + lasting
        return self.shifts[clock.programme]

    def _gap(self, clock: _Clock, programme: int, time: float) -> float:
        """Seconds between a stream's newest packet and its next one, if that belongs to this programme."""
        return time + self.shifts[programme] - clock.expected - self.shifts[clock.programme]

    def _lag(self, clock: _Clock) -> float:
        """Seconds by which a stream has ended before the others of its programme; 0 if they end about together."""
        lag = max(other.expected for other in self._clocks.values() if other.programme == clock.programme)
        return lag - clock.expected if lag - clock.expected > LAG_S else 0.0

    def _filled(self, clock: _Clock, stream: int, time: float) -> bool:
        """Whether another stream of the same programme has packets in the gap before this time."""
        return any(
            other.programme == clock.programme
            and other.latest is not None
            and abs(time - other.latest) < abs(clock.expected - other.latest)
            for (number, _), other in self._clocks.items()
            if number != stream
        )
