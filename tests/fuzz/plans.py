"""Plans of films that are drawn: containers with what they can hold, times of the pictures, sound."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from tests.fuzz.films import Plan, Sound

AAC, MP2, MP3, AC3, PCM, FLAC, OPUS, WMA = (
    "aac", "mp2", "libmp3lame", "ac3", "pcm_s16le", "flac", "libopus", "wmav2"
)  # fmt: skip
RATES = tuple(Fraction(*pair) for pair in (
    (10, 1), (12, 1), (25, 2), (15, 1), (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001)
))  # fmt: skip
MPEG_RATES = RATES[4:]
"""Those that MPEG-1 and MPEG-2 know."""


@dataclass(frozen=True)
class Container:
    """What a container can hold."""

    suffix: str
    codecs: tuple[str, ...]
    sounds: tuple[str, ...]
    kinds: frozenset[str]
    rounding_ms: float = 0.02
    """By how much the container rounds a time; MP4 in its edit list."""
    clock: bool = True
    """A film may begin at another time than 0."""
    lengths: bool = True
    """How long the last picture is shown is in the file, or follows from its rate."""


ANY = ("steady", "holds", "drops", "variable", "gap")
CONTAINERS = {
    "mp4": Container("mp4", ("libx264", "mpeg4", "mjpeg", "libx265"), (AAC, MP3),
                     frozenset((*ANY, "edit", "cut")), 1.0),
    "mov": Container("mov", ("libx264", "mjpeg", "mpeg4"), (AAC, PCM), frozenset((*ANY, "edit", "cut")), 1.0),
    "matroska": Container("mkv", ("libx264", "mpeg4", "libvpx", "mjpeg", "ffv1", "mpeg2video", "libx265"),
                          (AAC, FLAC, OPUS, PCM, MP3), frozenset((*ANY, "cut")), 1.0),
    "webm": Container("webm", ("libvpx", "libvpx-vp9"), (OPUS,), frozenset((*ANY, "cut")), 1.0),
    "mpegts": Container("ts", ("libx264", "mpeg2video", "mpeg4"), (AAC, MP2, AC3),
                        frozenset((*ANY, "resets", "jumps", "wrap", "cut"))),
    "avi": Container("avi", ("mpeg4", "mjpeg", "ffv1", "libx264"), (PCM, MP2, MP3),
                     frozenset(("steady", "holds", "drops", "cut")), clock=False),
    "mpeg": Container("mpg", ("mpeg2video", "mpeg1video"), (MP2,), frozenset(("steady", "resets", "jumps"))),
    "vob": Container("vob", ("mpeg2video",), (MP2, AC3), frozenset(("steady",))),
    "flv": Container("flv", ("flv", "libx264"), (AAC, MP3), frozenset((*ANY, "cut")), 1.0, lengths=False),
    "asf": Container("wmv", ("wmv2", "msmpeg4"), (WMA,), frozenset(ANY), 1.0, lengths=False),
}  # fmt: skip
JUMPING = ("mpegts", "mpeg", "vob")
"""Of these a gap of more than 10 s is a clock that jumped, to ffmpeg."""
INTRA = ("mjpeg", "ffv1")
B_FRAMES = ("libx264", "mpeg1video", "mpeg2video", "mpeg4", "libx265")
PIX_FMT = {"mjpeg": "yuvj420p"}
SOUND_RATES = {OPUS: (48_000,), AC3: (32_000, 44_100, 48_000)}


def draw(name: str, kind: str, rng: Random, pictures: tuple[int, int] = (15, 70)) -> Plan:
    """A film of this kind in this container, with `pictures` (fewest, most)."""
    container = CONTAINERS[name]
    codec = rng.choice(container.codecs)
    rate = rng.choice(MPEG_RATES if codec in ("mpeg1video", "mpeg2video") else RATES)
    count = rng.randint(*pictures)
    plan = Plan(
        name, codec, PIX_FMT.get(codec, "yuv420p"), rate, times_of(kind, name, rate, count, rng),
        last=1 / rate,
        b_frames=_b_frames(name, codec, rng),
        hidden=codec == "libvpx" and kind != "cut" and rng.random() < 0.5,
        key_every=rng.choice((5, 12, 250)) if codec != "mpeg1video" else 250,
        clock=Fraction(rng.choice((0, rng.randint(1, 9000), rng.randint(1, 20_000_000))), 1000) * container.clock,
    )  # fmt: skip
    if name in ("mpeg", "vob"):  # behind a second key picture libavformat itself stamps some a frame or two too early
        plan = dataclasses.replace(plan, key_every=250)
    if name in ("mp4", "mov"):
        if not plan.b_frames:  # only the last picture in the file has a length of its own: with them not the last shown
            plan = dataclasses.replace(plan, last=rng.choice((1 / rate, Fraction(rng.randint(20, 2000), 1000))))
        plan = dataclasses.replace(plan, options=(("video_track_timescale", "90000"),))
    return dataclasses.replace(plan, sound=_sound(plan, kind, container, rng))


def _b_frames(name: str, codec: str, rng: Random) -> int:
    if codec not in B_FRAMES or name == "avi":
        return 0
    # MPEG-1 without them: libavformat gives single pictures of a program stream another time
    return rng.choice((1, 2)) if name in ("mpeg", "vob") else rng.choice((0, 1, 2))


def times_of(kind: str, name: str, rate: Fraction, count: int, rng: Random) -> tuple[Fraction, ...]:
    """When each of `count` pictures comes on the screen."""
    steps = [1 / rate] * (count - 1)
    if kind == "holds":
        for at in rng.sample(range(count - 1), rng.randint(1, 3)):
            longest = 5 if name in JUMPING or rng.random() < 0.8 else 20
            steps[at] = rng.randint(2, int(longest * rate)) / rate
    elif kind == "drops":
        steps = [step * (1 if rng.random() < 0.7 else rng.randint(2, 5)) for step in steps]
    elif kind == "variable":
        steps = [Fraction(rng.randint(12, 160), 1000) for _ in steps]
    times = [Fraction(0)]
    for step in steps:
        times.append(times[-1] + step)
    return tuple(times)


def _sound(plan: Plan, kind: str, container: Container, rng: Random) -> Sound | None:
    if kind != "gap" and rng.random() < 0.25:
        return None
    # MOV gives no time to samples of a fixed size: it cannot hold a gap between them
    codec = rng.choice([codec for codec in container.sounds if kind != "gap" or codec != PCM])
    rate = rng.choice(SOUND_RATES.get(codec, (22_050, 44_100, 48_000) if codec != MP2 else (32_000, 44_100, 48_000)))
    if container.suffix == "flv":  # it knows no other rates
        rate = rng.choice((22_050, 44_100))
    whole = float(plan.stop)
    start = Fraction(rng.choice((0, 0, rng.randint(-1000, 1000))), 1000) if container.clock else Fraction(0)
    start = min(start, Fraction(int(whole * 400), 1000))
    if kind in ("resets", "jumps"):
        start = Fraction(rng.randint(30, 60), 1000)
    stop = max(whole + rng.choice((0.0, 0.0, rng.uniform(-0.8, 0.8))), float(start) + 0.4)
    if kind in ("resets", "jumps"):
        stop = whole
    gap = None
    if kind == "gap":
        begins = float(start) + rng.uniform(0.3, 0.6) * (stop - float(start))
        gap = (begins, rng.uniform(0.1, 3.0))
        stop += gap[1]
    seconds = stop - float(start) - (gap[1] if gap else 0)
    sound = Sound(codec, rate, start, seconds, (), gap)
    edges = [0.0, whole, float(start), stop, *((gap[0], gap[0] + gap[1]) if gap else ())]
    bursts: list[float] = []
    for _ in range(30):
        time = rng.uniform(float(start), stop)
        inside = gap is not None and gap[0] - 0.1 < time < gap[0] + gap[1] + 0.1
        if not inside and all(abs(time - other) > 0.11 for other in (*edges, *bursts)):
            bursts.append(time)
    return dataclasses.replace(sound, bursts=tuple(sorted(bursts[:6])))


def describe(plan: Plan) -> str:
    """The plan in words, for the message of a test that fails."""
    sound = plan.sound
    gaps = [float(b - a) for a, b in zip(plan.times, (*plan.times[1:], plan.stop), strict=True)]
    said = (
        f"{plan.format} {plan.codec}{' hidden' * plan.hidden} bf={plan.b_frames} g={plan.key_every} "
        f"{plan.rate} a second, {len(plan.times)} pictures, {float(plan.stop):.3f} s, longest {max(gaps):.3f} s, "
        f"last {gaps[-1]:.3f} s, first at {float(plan.clock):.3f} s"
    )
    if sound is not None:
        said += (
            f"; {sound.codec} {sound.rate} from {float(sound.start):.3f} s for {sound.seconds:.3f} s, gap {sound.gap}"
        )
    return said


def like(plan: Plan, kind: str, sound: Sound, rng: Random) -> Sound:
    """Sound of the next programme: the same codec and rate."""
    container = dataclasses.replace(CONTAINERS[plan.format], sounds=(sound.codec,))
    while True:
        other = _sound(plan, kind, container, rng)
        if other is not None and other.rate == sound.rate:
            return other
