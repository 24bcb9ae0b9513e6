"""The clock of a file: packets with their timestamps on one timeline, also where a file's clock is reset or jumps.

An HLS list with `#EXT-X-DISCONTINUITY`, an encoder that was restarted and a tape that was stopped leave a file whose
timestamps begin again, or leap by an hour, in the middle. Players and ffmpeg go on without a gap, and so does this:
each such place begins a new *programme*, whose timestamps are shifted so that its first picture follows the last one of
the programme before; its sound is shifted by as much, so that both stay together.

The rules are those of ffmpeg (`ts_discontinuity_process` in fftools), with these differences. The picture decides: its
packets begin a programme, and sound that comes first waits for it. Each stream enters a programme by its own packets,
because demuxers deliver the last pictures of one after the first sound of the next. A gap in one stream, while another
goes on, is a gap and no jump.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import av

from reelmill.pipeline.errors import Unsupported

BACK_S = 0.1
"""A decoding time that is earlier than the previous one of its stream by more than this is a reset, in every format:
decoding times never go back. (ffmpeg: AV_TIME_BASE / 10.)"""
FORWARD_S = 10.0
"""A gap longer than this is a jump of the clock, in formats whose clock may jump (MPEG-TS and -PS, Ogg), if no other
stream has packets in it. (ffmpeg: -dts_delta_threshold 10.) In other formats it is a picture that is held."""

ROUNDED_S = 0.001
"""The start of a video is stored in whole milliseconds."""

LAG_S = 0.5
"""If the picture of a programme ends earlier than its sound by more than this, the next one follows the sound."""
PATIENCE = 100
"""Packets of the file for which sound waits for the picture, before it is taken for a stream with a clock of its own.
"""


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
    """Shifts of time by which the programmes of a file follow one another. Knows nothing of media files."""

    may_jump: bool
    """Whether a long gap is a jump of the clock."""
    picture: int | None = None
    """The stream that begins programmes; None: each may."""
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
            if not fitting:
                if patient and self.picture not in (None, stream):
                    return None
                self.jumps.append(Jump(clock.expected + self.shifts[clock.programme], time - clock.expected))
                self.shifts.append(self.shifts[clock.programme] - gap + self._lag(clock))
                fitting = [len(self.shifts) - 1]
            clock.programme = min(fitting, key=lambda p: abs(gaps.get(p, 0.0)))
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


class Timeline:
    """The packets of one stream in the order of the file, their timestamps on one timeline. The last one is empty: it
    makes a decoder give what it has kept."""

    def __init__(
        self,
        container: av.container.InputContainer,
        picture: av.VideoStream,
        sound: av.AudioStream | None = None,
    ) -> None:
        """The packets of `sound`, if given, otherwise those of `picture`."""
        self.stream = sound or picture
        self.cut_short = False
        """The file ended with an error; what came is what there is."""
        self.count = 0
        """Packets so far."""
        self.stop = -math.inf
        """End of the packet that is shown last of those so far, in seconds on the timeline."""
        self._last = -math.inf
        self._reordered = False
        self._container, self._picture = container, picture
        self._listed_at_first = len(self.stream.index_entries)  # of a file without an index, reading fills it
        self._repair = Repair(bool(container.format.flags & av.format.Flags.ts_discont.value), picture.index)

    @property
    def jumps(self) -> Sequence[Jump]:
        """The places so far at which the clock was reset or jumped."""
        return self._repair.jumps

    def __iter__(self) -> Iterator[av.Packet]:
        for packet in self._placed():
            if packet.stream is self.stream:
                if self.jumps and packet.is_discard:  # MP4: its demuxer takes what comes after a reset for a repetition
                    packet = _shown(packet)
                self.count += bool(packet.size)
                self._note(packet)
                yield packet

    def _note(self, packet: av.Packet) -> None:
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is None or not packet.size or packet.is_discard:
            return
        begins = float(shown * packet.time_base)
        self._reordered = begins < self._last
        if not self._reordered:
            self._last, self.stop = begins, begins + _lasting(packet)

    def _placed(self) -> Iterator[av.Packet]:
        waiting: list[av.Packet] = []
        """Packets of sound that may begin a programme, and all of the same streams behind them."""
        patience = 0
        for packet in self._read():
            jumps = len(self.jumps)
            if any(packet.stream is one.stream for one in waiting) or not self._place(packet, patient=True):
                waiting.append(packet)
            else:
                yield packet
            patience = patience + 1 if waiting else 0
            if waiting and (len(self.jumps) > jumps or patience > PATIENCE or not packet.size):
                for one in waiting:
                    self._place(one, patient=False)
                yield from waiting
                waiting = []
        for one in waiting:
            self._place(one, patient=False)
        yield from waiting

    def _read(self) -> Iterator[av.Packet]:
        sounds = [stream for stream in self._container.streams if stream.type == "audio"]
        packets = self._container.demux([self._picture, *sounds])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, IndexError):  # IndexError: a damaged file begins a stream in its middle
                self.cut_short = True
                return
            yield packet

    def _place(self, packet: av.Packet, patient: bool) -> bool:
        """Shift the timestamps of a packet; False if it has to wait."""
        first = packet.dts if packet.dts is not None else packet.pts
        if first is None or not packet.time_base:
            return True
        exact, index = packet.dts is not None, packet.stream.index
        time = float(first * packet.time_base)
        shift = self._repair.shift(index, time, _lasting(packet), exact, patient)
        if shift is None:
            return False
        if ticks := round(shift / packet.time_base):
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        return True

    def listed_stop(self, start: float) -> float:
        """After the last packet: when the stream ends by the index of the file, `start` seconds being its beginning.

        Later than `stop` if the file is truncated (`lacks_bytes`), or if it is an AVI that ends with empty chunks, in
        which the last picture stays: they are counted in its header, and no packet stands for them. Earlier in MP4
        where decoding order differs from presentation order: there the duration of a packet lasts until the next one is
        *decoded*, which after a long pause may be that of another picture.
        """
        kind, listed = self._container.format.name, len(self.stream.index_entries)
        if not self.stream.duration:
            return self.stop
        told = start + float(self.stream.duration * (self.stream.time_base or 0))
        if listed > self.count or (kind == "avi" and self._listed_at_first == listed == self.count):
            return max(self.stop, told)
        return told if self._reordered and "mp4" in kind and self._last < told < self.stop else self.stop

    @property
    def lacks_bytes(self) -> bool:
        """After the last packet: whether the file ended with an error, or before the bytes that its index lists."""
        if self.cut_short:
            return True
        entries = self.stream.index_entries
        return len(entries) > self.count and any(e.pos + e.size > self._container.size for e in entries if e.size)


def _lasting(packet: av.Packet) -> float:
    """Seconds that a packet lasts; 0 if its container does not say it, nor a rate."""
    if packet.duration:
        return float(packet.duration * packet.time_base)
    rate = getattr(packet.stream, "average_rate", None)
    return float(1 / rate) if rate else 0.0


def _shown(packet: av.Packet) -> av.Packet:
    """The packet without its mark that decoders shall not give its frame."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    return copy


def exact_start(stream: av.VideoStream, start: float) -> float:
    """The start of a stream in seconds as its container says it, if `start` is that rounded."""
    if stream.start_time is None or not stream.time_base:
        return start
    exact = float(stream.start_time * stream.time_base)
    return exact if abs(exact - start) < ROUNDED_S else start


def in_ms(seconds: float) -> float:
    """In milliseconds, without the noise of floats."""
    return round(seconds * 1000, 3)


def check_clock(container: av.container.InputContainer, stream: av.VideoStream, decoder: str) -> None:
    """Raise Unsupported if the clock of the file is reset or jumps: decoders other than PyAV give raw times, and some
    sort frames by them. Reads all packets."""
    timeline = Timeline(container, stream)
    for _ in timeline:
        pass
    if timeline.jumps:
        raise Unsupported(
            f"{container.name}: its clock is reset or jumps in {len(timeline.jumps)} places, which {decoder} does not "
            "repair; use `extract.decoder: pyav`"
        )
