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
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av

from reelmill.pipeline.decode.programmes import FORWARD_S, Jump, Repair
from reelmill.pipeline.errors import Unsupported

ROUNDED_S = 0.001
"""The start of a video is stored in whole milliseconds."""

GUESS_S = 0.0011
"""A duration up to this is one that libavformat puts in where a container has none: one unit of its clock."""
PATIENCE = 100
"""Packets of the file for which sound waits for the picture, before it is taken for a stream with a clock of its own.
"""


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
        self.shift: float | None = None
        """Seconds by which the newest packet was shifted: another number is another programme."""
        self.count = 0
        """Packets so far."""
        self.stop = -math.inf
        """End of the packet that is shown last of those so far, in seconds on the timeline."""
        self._last = -math.inf
        self._reordered = False
        self._step = math.inf
        """Shortest step from one packet to one that is shown later."""
        self._container, self._picture = container, picture
        self._repair = Repair(
            may_jump=bool(container.format.flags & av.format.Flags.ts_discont.value),
            # MP4 with one index has one clock; its demuxer goes back in it where an edit list shows parts of the file
            fixed="mp4" in container.format.name and not in_fragments(Path(container.name)),
            picture=picture.index,
        )

    @property
    def jumps(self) -> Sequence[Jump]:
        """The places so far at which the clock was reset or jumped."""
        return self._repair.jumps

    def __iter__(self) -> Iterator[av.Packet]:
        for packet, shift in self._placed():
            if packet.stream is self.stream:
                self.shift = self.shift if shift is None else shift
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
            if begins > self._last > -math.inf:
                self._step = min(self._step, begins - self._last)
            lasting = _lasting(packet) or (self._step if self._step < math.inf else 0.0)
            self._last, self.stop = begins, begins + lasting

    def _placed(self) -> Iterator[tuple[av.Packet, float | None]]:
        """Each packet with its timestamps shifted, and by how much; None if it has none."""
        waiting: list[av.Packet] = []
        """Packets of sound that may begin a programme, and all of the same streams behind them."""
        patience = 0
        for packet in self._read():
            jumps = len(self.jumps)
            if any(packet.stream is one.stream for one in waiting):
                waiting.append(packet)
            else:
                placed, shift = self._place(packet, patient=True)
                if placed:
                    yield packet, shift
                else:
                    waiting.append(packet)
            patience = patience + 1 if waiting else 0
            if waiting and (len(self.jumps) > jumps or patience > PATIENCE or not packet.size):
                yield from [(one, self._place(one, patient=False)[1]) for one in waiting]
                waiting = []
        yield from [(one, self._place(one, patient=False)[1]) for one in waiting]

    def _read(self) -> Iterator[av.Packet]:
        streams: list[Any] = [self.stream]
        if not self._repair.fixed:  # a clock that may be reset is known by all streams together
            sounds = [stream for stream in self._container.streams if stream.type == "audio"]
            streams = [self._picture, *sounds]
        packets = self._container.demux(streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, IndexError):  # IndexError: a damaged file begins a stream in its middle
                self.cut_short = True
                return
            yield packet

    def _place(self, packet: av.Packet, patient: bool) -> tuple[bool, float | None]:
        """Shift the timestamps of a packet. Returns False if it has to wait, and by how much it was shifted."""
        first = packet.dts if packet.dts is not None else packet.pts
        if first is None or not packet.time_base:
            return True, None
        if packet.pts is not None and packet.dts is not None:
            later = float((packet.pts - packet.dts) * packet.time_base)
            if self._container.format.name == "avi":
                packet.pts = packet.dts  # it has one time for each packet; libavformat guesses the other one
            elif self._repair.may_jump and not 0 <= later <= FORWARD_S:
                packet.pts = None  # where the clock is reset libavformat mixes the times of both sides in one packet
        exact, index = packet.dts is not None, packet.stream.index
        time = float(first * packet.time_base)
        shift = self._repair.shift(index, time, _lasting(packet), exact, patient)
        if shift is None:
            return False, None
        if ticks := round(shift / packet.time_base):
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        return True, shift

    def listed_stop(self, start: float) -> float:
        """After the last packet: when the stream ends by the index of the file, `start` seconds being its beginning.

        Later than `stop` if the file is truncated (`lacks_bytes`), or if it is an AVI that ends with empty chunks, in
        which the last picture stays: they are counted in its header, and no packet stands for them. In MP4 the index
        knows better than the last packet: where decoding order differs from presentation order, the duration of a
        packet lasts until the next one is *decoded*, which after a long pause may be that of another picture.
        """
        kind, listed = self._container.format.name, len(self.stream.index_entries)
        if not self.stream.duration:
            return self.stop
        told = start + float(self.stream.duration * (self.stream.time_base or 0))
        truncated = listed > self.count
        if "mp4" in kind and told > self._last:
            return told if truncated or self._reordered else max(self.stop, told if self._repair.fixed else self.stop)
        if truncated if kind != "avi" else is_whole_riff(Path(self._container.name)):
            return max(self.stop, told)
        return self.stop

    @property
    def lacks_bytes(self) -> bool:
        """After the last packet: whether the file ended with an error, or before the bytes that its index lists."""
        if self.cut_short:
            return True
        entries = self.stream.index_entries
        return len(entries) > self.count and any(e.pos + e.size > self._container.size for e in entries if e.size)


def _lasting(packet: av.Packet) -> float:
    """Seconds that a packet lasts; 0 if its container does not say it, nor a rate."""
    if packet.duration and (seconds := float(packet.duration * packet.time_base)) > GUESS_S:
        return seconds
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


def in_fragments(path: Path) -> bool:
    """Whether an MP4 file is one of fragments (`moof`), each with an index and a time of its own."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        place = 0
        while place + 8 <= end:
            file.seek(place)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4]), head[4:8]
            if kind == b"moof":
                return True
            if size == 1:
                size = int.from_bytes(head[8:16])
            if size < 8:  # 0: to the end of the file
                return False
            place += size
    return False


def is_whole_riff(path: Path) -> bool:
    """Whether an AVI is as long as its first bytes say."""
    with path.open("rb") as file:
        head = file.read(8)
        return 0 < int.from_bytes(head[4:8], "little") + 8 <= file.seek(0, os.SEEK_END)


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
