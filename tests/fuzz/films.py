"""Made films: pictures that carry their index, sound with bursts at known times, written into a container by PyAV.

Nothing here reads a file again. Times are seconds on the plan's clock, on which the first picture is at 0; sound may
begin earlier or later.
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media import BITS, indexed_frame, read_index

SIZE = (64, 48)
"""(width, height)."""
CHECK_BITS = 4
BURST_S = 0.012
CHUNK = 1024
"""Samples in a frame that is given to an encoder."""


def code(index: int) -> int:
    """An index with a checksum, so that a damaged picture is not read as another one. Below 256."""
    return index << CHECK_BITS | (index * 7 + 5) % (1 << CHECK_BITS)


def read_code(picture: np.ndarray) -> int | None:
    """The index in a picture; None if it cannot be read."""
    value = read_index(picture)
    index = value >> CHECK_BITS
    return index if code(index) == value else None


assert code((1 << BITS - CHECK_BITS) - 1) < 1 << BITS


@dataclass(frozen=True)
class Sound:
    """One track of sound."""

    codec: str
    rate: int
    start: Fraction
    seconds: float
    """Of samples; a gap comes on top."""
    bursts: tuple[float, ...]
    """When each burst begins, on the plan's clock, behind the gap if it is there."""
    gap: tuple[float, float] | None = None
    """(when it begins, how long it lasts): nothing is stored there."""


@dataclass(frozen=True)
class Plan:
    """One programme: a film with one clock."""

    format: str
    """Of libavformat's muxers."""
    codec: str
    pix_fmt: str
    rate: Fraction
    times: tuple[Fraction, ...]
    """When each picture comes on the screen; the first is at 0."""
    last: Fraction
    """How long the last picture is shown."""
    first_index: int = 0
    """In the first picture."""
    b_frames: int = 0
    key_every: int = 12
    hidden: bool = False
    """Each key picture of VP8 is preceded by one that is decoded and not shown, as alternate references are."""
    sound: Sound | None = None
    clock: Fraction = Fraction(0)
    """Time of the first picture in the file."""
    options: tuple[tuple[str, str], ...] = ()
    """For the muxer."""

    @property
    def stop(self) -> Fraction:
        """When the last picture leaves the screen."""
        return self.times[-1] + self.last


def burst(rate: int) -> np.ndarray:
    """A rising tone (float32), whose correlation with itself has one narrow peak."""
    t = np.arange(round(BURST_S * rate)) / rate
    return (0.8 * np.hanning(len(t)) * np.sin(2 * np.pi * (400 * t + (2800 / BURST_S / 2) * t * t))).astype(np.float32)


def samples(sound: Sound) -> np.ndarray:
    """What is encoded: (samples,) float32, without the gap."""
    wave = np.zeros(round(sound.seconds * sound.rate), np.float32)
    for time in sound.bursts:
        if sound.gap is not None and time >= sound.gap[0]:
            time -= sound.gap[1]
        first = round((time - float(sound.start)) * sound.rate)
        wave[first : first + round(BURST_S * sound.rate)] += burst(sound.rate)
    return wave


@dataclass(frozen=True)
class Written:
    """A file, and what was put into it."""

    data: bytes
    packets: tuple[bytes, ...]
    """Of the picture, in the order of decoding."""
    order: tuple[int, ...]
    """Number of the picture in each."""
    sound_delay: float
    """Seconds that the encoder puts in front of the sound, which a file with times hides."""


def write(plan: Plan) -> Written:
    """Encode and mux."""
    with tempfile.NamedTemporaryFile() as file:  # not a buffer: `faststart` reads what is written
        written = _mux(file.name, plan)
        return dataclasses.replace(written, data=Path(file.name).read_bytes())


def _mux(path: str, plan: Plan) -> Written:
    with av.open(path, "w", format=plan.format, options={"fflags": "+bitexact", **dict(plan.options)}) as out:
        video = _picture_stream(out, plan)
        audio = None
        if plan.sound is not None:
            audio = out.add_stream(plan.sound.codec, rate=plan.sound.rate)
            audio.layout = "mono"
            if plan.sound.codec != "flac":
                audio.bit_rate = 96_000
        packets, order = _pictures(video, plan)
        content = tuple(bytes(packet) for packet in packets)
        if plan.hidden:
            packets = [p for packet in packets for p in ([_hidden(packet), packet] if packet.is_keyframe else [packet])]
        sounds, delay = _sounds(audio, plan) if audio is not None else ([], 0.0)
        for packet in sorted(packets + sounds, key=lambda one: float(one.dts * one.time_base)):
            out.mux(packet)
    return Written(b"", content, tuple(order), delay)


def _picture_stream(out: av.container.OutputContainer, plan: Plan) -> av.VideoStream:
    options = {"g": str(plan.key_every), "bf": str(plan.b_frames)}
    if plan.codec.startswith("libvpx"):
        options = {"g": str(plan.key_every), "cpu-used": "5", "deadline": "good", "lag-in-frames": "0"}
    elif plan.codec == "libx264":
        options |= {"preset": "veryfast", "crf": "18"}
    elif plan.codec == "libx265":
        options |= {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"}
    elif plan.codec in ("mjpeg", "ffv1"):
        options = {}
    stream = out.add_stream(plan.codec, rate=plan.rate, options=options)
    stream.width, stream.height = SIZE
    stream.pix_fmt = plan.pix_fmt
    stream.codec_context.time_base = 1 / plan.rate
    stream.codec_context.thread_count = 1  # the same bytes each time
    if plan.codec != "libx264":
        stream.bit_rate = 600_000
    return stream


def _pictures(stream: av.VideoStream, plan: Plan) -> tuple[list[av.Packet], list[int]]:
    """Encoded at a constant rate, then given the plan's times: the k-th packet is decoded when the picture comes on the
    screen that is `delay` earlier in the order of presentation, as encoders have it."""
    packets: list[av.Packet] = []
    for number in range(len(plan.times)):
        frame = av.VideoFrame.from_ndarray(indexed_frame(code(plan.first_index + number), *SIZE), format="rgb24")
        frame.pts, frame.time_base = number, 1 / plan.rate
        packets += stream.encode(frame)
    packets += stream.encode(None)
    order = [round(packet.pts * packet.time_base * plan.rate) for packet in packets]
    assert sorted(order) == list(range(len(plan.times)))
    delay = max(k - number for k, number in enumerate(order))
    base = tick(plan)
    for k, (packet, number) in enumerate(zip(packets, order, strict=True)):
        decoded = plan.times[k - delay] if k >= delay else (k - delay) / plan.rate
        after = plan.times[number + 1] if number + 1 < len(plan.times) else plan.stop
        packet.time_base = base
        packet.pts = round((plan.times[number] + plan.clock) / base)
        packet.dts = round((decoded + plan.clock) / base)
        packet.duration = round((after - plan.times[number]) / base)
    return packets, order


def _hidden(packet: av.Packet) -> av.Packet:
    """A key picture of VP8 without the bit that says that it is shown."""
    content = bytes(packet)
    hidden = av.Packet(bytes([content[0] & ~0x10]) + content[1:])
    hidden.stream, hidden.time_base = packet.stream, packet.time_base
    hidden.pts, hidden.dts, hidden.is_keyframe = packet.pts, packet.dts, True
    return hidden


def tick(plan: Plan) -> Fraction:
    """Unit of the times of packets: AVI has none, and counts frames."""
    return 1 / plan.rate if plan.format == "avi" else Fraction(1, 90_000)


def _sounds(stream: av.AudioStream, plan: Plan) -> tuple[list[av.Packet], float]:
    sound = plan.sound
    assert sound is not None
    wave, packets = samples(sound), []
    for first in range(0, len(wave), CHUNK):
        frame = av.AudioFrame.from_ndarray(wave[None, first : first + CHUNK], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, first, Fraction(1, sound.rate)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    delay = -packets[0].pts / sound.rate
    shift = round((sound.start + plan.clock) * sound.rate)
    if plan.format == "avi":
        shift = -packets[0].pts  # it has no clock, and its muxer would move the picture for a negative time
    for packet in packets:
        assert packet.time_base == Fraction(1, sound.rate)
        late = sound.gap is not None and packet.pts / sound.rate + float(sound.start) >= sound.gap[0]
        packet.pts += shift + (round(sound.gap[1] * sound.rate) if late and sound.gap else 0)
        packet.dts = packet.pts
    return packets, delay


def content_ends(written: Written, plan: Plan) -> list[int]:
    """Where each packet of the picture ends in the file."""
    if plan.format == "mpegts":
        ends = _ends_in_ts(written.data)
        assert len(ends) == len(written.packets)
        return ends
    ends, at = [], 0
    for packet in written.packets:
        if plan.codec in ("libx264", "libx265"):
            packet = packet[packet.rindex(b"\0\0\1") + 3 :]  # the last unit: what is before it depends on the container
        at = written.data.index(packet, at) + len(packet)
        ends.append(at)
    return ends


def _ends_in_ts(data: bytes) -> list[int]:
    ends: list[int] = []
    for at in range(0, len(data), 188):
        if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == 0x100:
            if data[at + 1] & 0x40:
                ends.append(at + 188)
            ends[-1] = at + 188
    return ends
