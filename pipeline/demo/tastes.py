"""How the six hidden tastes of the planted corpus look and sound: pictures and samples made with numpy.

A taste is a row of a table: a background that flows through a palette, shapes that move in one way, and a sound. A
`Style` is what one video changes in all of them, whatever the taste: tint, contrast, scale, place, pitch. Recommenders
must find the taste and ignore the style.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np


@dataclass(frozen=True)
class Taste:
    """One taste. Lengths are in picture heights, times in seconds, colours in hex RGB."""

    name: str
    palette: tuple[str, ...]
    """Colours of the background, dark to bright; it runs through them and back."""
    ground: Literal["waves", "stripes", "rings", "clouds", "checks", "grid"]
    period: float
    """Length of one period of the background."""
    flow: float
    """Periods of the background that pass a point per second."""
    shape: Literal["disc", "square", "diamond", "ring", "flower"]
    inks: tuple[str, ...]
    """Colours of the shapes, taken in turn."""
    count: int
    radius: float
    speed: tuple[float, float]
    """(right, down), heights per second."""
    sway: tuple[float, float]
    """Amplitude of a swing to the right and down, one every two seconds."""
    beat: float
    """Beats per second, of the sound; shapes of a taste with `jump` move on the beat only."""
    jump: bool
    chord: tuple[float, ...]
    """Frequencies, Hz."""
    decay: float
    """How fast a tone fades after each beat, 1/s; 0 is a constant tone."""
    band: tuple[float, float]
    """Lowest and highest frequency of the noise, Hz."""
    noise: float
    """Share of noise in the sound, 0 to 1."""


TASTES = (
    Taste("tide", ("#06264a", "#0b4f86", "#1f86b8", "#8fd3e0"), "waves", 0.34, 0.5,
          "disc", ("#f4fbfb", "#cfeef2"), 6, 0.06, (0.16, 0.0), (0.0, 0.08),
          0.35, False, (110.0, 165.0), 0.0, (150.0, 900.0), 0.7),
    Taste("ember", ("#120404", "#4a0d08", "#a8290d", "#ee7a1c"), "clouds", 0.8, 0.25,
          "diamond", ("#ffd45a", "#ff9a3d"), 26, 0.028, (0.05, -0.75), (0.05, 0.0),
          9.0, False, (55.0, 58.3), 30.0, (1500.0, 5000.0), 0.6),
    Taste("meadow", ("#1d5a2c", "#3d8f3a", "#79b94a", "#c5dd72"), "stripes", 0.22, 0.12,
          "flower", ("#fff3f7", "#f7a8c4", "#ffe27a"), 11, 0.085, (0.0, 0.0), (0.045, 0.0),
          0.5, False, (261.6, 329.6, 392.0), 0.0, (3000.0, 6000.0), 0.04),
    Taste("neon", ("#0a0620", "#150b3d", "#5b1f9e", "#ff3fd0"), "grid", 0.2, 0.9,
          "square", ("#28e7ff", "#ff5ad9"), 8, 0.07, (0.7, 0.37), (0.0, 0.0),
          4.0, True, (82.4, 164.8, 247.2, 329.6), 7.0, (4000.0, 9000.0), 0.15),
    Taste("paper", ("#faf4e6", "#efb9aa"), "checks", 0.36, 0.25,
          "disc", ("#3c4a5c", "#c9614f"), 5, 0.045, (0.0, 0.35), (0.02, 0.0),
          2.0, False, (1046.5, 1568.0, 2093.0), 4.0, (200.0, 400.0), 0.02),
    Taste("honey", ("#7a4a12", "#b97719", "#e5aa2e", "#f8dd84"), "rings", 0.3, 0.7,
          "ring", ("#5a2d0c", "#fff2c4"), 4, 0.13, (0.0, 0.0), (0.3, 0.12),
          6.0, False, (196.0, 293.7, 440.0), 2.5, (800.0, 1600.0), 0.05),
)  # fmt: skip

PROFILES: dict[str, np.ndarray] = {  # what a ground does along its repeat: 256 steps → palette index 0 to 255
    "swing": np.round(127.5 - 127.5 * np.cos(2 * np.pi * np.arange(256) / 256)).astype(np.uint8),
    "half": np.round(63.5 - 63.5 * np.cos(2 * np.pi * np.arange(256) / 256)).astype(np.uint8),
    "step": (np.arange(256) // 128 * 255).astype(np.uint8),
    "line": np.round(255 * np.exp(-((np.arange(256) - 128) ** 2) / 2 / 10**2)).astype(np.uint8),
}

SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # distance from the centre; the edge is at 1
    "disc": np.hypot,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) * 1.15,
    "diamond": lambda x, y: abs(x) * 1.4 + abs(y),
    "ring": lambda x, y: 0.75 + abs(np.hypot(x, y) - 0.75),
    "flower": lambda x, y: np.hypot(x, y) / (0.72 + 0.28 * np.cos(5 * np.arctan2(y, x))),
}


@dataclass(frozen=True)
class Style:
    """What one video changes in every taste."""

    tint: np.ndarray
    """(3,) gains of red, green, blue."""
    contrast: float
    lift: float
    """Added to each colour; the whole range is −1 to 1."""
    scale: float
    """Size of shapes and backgrounds."""
    pitch: float
    """Factor of every frequency of the chord."""
    gain: float
    hiss: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """A style at random."""
        return cls(tint=rng.uniform(0.76, 1.24, 3), contrast=rng.uniform(0.7, 1.2), lift=rng.uniform(-0.08, 0.08),
                   scale=rng.uniform(0.75, 1.35), pitch=2 ** (rng.integers(-3, 4) / 12),
                   gain=rng.uniform(0.5, 1.0), hiss=rng.uniform(0.002, 0.01))  # fmt: skip

    def colours(self, inks: tuple[str, ...]) -> np.ndarray:
        """(n, 3) float in 0 to 255, after tint, contrast and lift."""
        rgb = np.array([[int(ink[i : i + 2], 16) for i in (1, 3, 5)] for ink in inks], float)
        return np.clip(((rgb - 128) * self.contrast + 128) * self.tint + 255 * self.lift, 0, 255)


class Scene:
    """One taste in one style, from one start: `frame(seconds)` paints it."""

    def __init__(self, taste: Taste, style: Style, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.taste, self.style = taste, style
        self.width, self.height = size
        stops = np.linspace(0, 255, len(taste.palette))
        ramp = style.colours(taste.palette)
        self._ramp = np.stack([np.interp(np.arange(256), stops, c) for c in ramp.T], 1).astype(np.uint8)
        self._ground = self._make_ground(rng)
        self._inks = style.colours(taste.inks)
        radii = taste.radius * style.scale * rng.uniform(0.8, 1.25, 3)
        self._sprites = [_sprite(taste.shape, max(2.0, r * self.height)) for r in radii]
        self._start = rng.uniform(0, 1, (taste.count, 2))
        self._phase = rng.uniform(0, 1, taste.count)

    def _make_ground(self, rng: np.random.Generator) -> Callable[[float], np.ndarray]:
        """seconds → palette index (height, width) uint8. Phases are bytes, so that one repeat is one overflow: moving
        the whole ground costs one addition."""
        period = self.taste.period * self.style.scale
        y, x = np.mgrid[: self.height, : self.width] / self.height
        x, y = (x - rng.uniform(0.5, 1.3)) / period, (y - rng.uniform(0.2, 0.8)) / period
        kind, flow = self.taste.ground, self.taste.flow

        def phase(repeats: np.ndarray) -> np.ndarray:
            return np.floor(repeats * 256).astype(np.int64).astype(np.uint8)

        def moved(which: np.ndarray, seconds: float) -> np.ndarray:
            return which + np.uint8(int(seconds * flow * 256) & 255)

        def take(profile: str, which: np.ndarray) -> np.ndarray:
            return np.take(PROFILES[profile], which)  # four times as fast as an index

        if kind in ("waves", "stripes", "rings"):
            along = {
                "waves": y - 0.25 * np.sin(2 * np.pi * x * 0.4),
                "stripes": (x + y) * np.sqrt(0.5),
                "rings": -np.hypot(x, y),
            }
            one = phase(along[kind])
            return lambda seconds: take("swing", moved(one, seconds))
        one, two = phase(x), phase(y)
        if kind == "clouds":
            one, two = phase(x + 0.3 * np.sin(3 * y)), phase(y + 0.35 * np.sin(2.3 * x))
            return lambda seconds: take("half", moved(one, -seconds)) + take("half", moved(two, 2 * seconds))
        if kind == "checks":
            return lambda seconds: take("step", moved(one, seconds)) ^ take("step", moved(two, seconds))
        return lambda seconds: np.maximum(take("line", one), take("line", moved(two, -seconds)))

    def frame(self, seconds: float) -> np.ndarray:
        """(height, width, 3) uint8 RGB at this time from the scene's start."""
        picture = np.take(self._ramp, self._ground(seconds), axis=0)
        for number, (left, top) in enumerate(self._places(seconds)):
            alpha = self._sprites[number % len(self._sprites)]
            self._paste(picture, alpha, self._inks[number % len(self._inks)], left, top)
        return picture

    def _places(self, seconds: float) -> np.ndarray:
        """(count, 2) pixels: centres of the shapes (right, down). They leave on one side and come back on the other."""
        taste = self.taste
        now = np.floor(seconds * taste.beat) / taste.beat if taste.jump else seconds
        swing = np.sin(2 * np.pi * (seconds / 2 + self._phase[:, None] + np.array([0, 0.25])))
        room = np.array([self.width / self.height + 0.3, 1.3])
        heights = self._start * room + np.array(taste.speed) * now + np.array(taste.sway) * swing
        return np.rint((heights % room - 0.15) * self.height).astype(int)

    def _paste(self, picture: np.ndarray, alpha: np.ndarray, ink: np.ndarray, x: int, y: int) -> None:
        half = len(alpha) // 2
        top, left = y - half, x - half
        a, b = max(0, top), min(self.height, top + len(alpha))
        c, d = max(0, left), min(self.width, left + len(alpha))
        if a >= b or c >= d:
            return
        cover = alpha[a - top : b - top, c - left : d - left, None]
        patch = picture[a:b, c:d]
        patch[:] = patch + (ink - patch) * cover


def _sprite(shape: str, radius: float) -> np.ndarray:
    """(side, side) float32 0 to 1, with a soft edge of one pixel."""
    side = int(np.ceil(radius)) + 1
    axis = np.arange(-side, side + 1) / radius
    distance = SHAPES[shape](axis[None, :], axis[:, None])
    return np.clip((1 - distance) * radius + 0.5, 0, 1).astype(np.float32)


def sound(taste: Taste, style: Style, start: float, count: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) float32 in −1 to 1: the taste's tones and noise from `start` seconds of the video on."""
    times = start + np.arange(count) / rate
    since_beat = times * taste.beat % 1 / taste.beat
    fade = np.exp(-taste.decay * since_beat)
    tones = np.zeros(count)
    for frequency in taste.chord:
        turns = times * frequency * style.pitch
        tones += np.sin(2 * np.pi * turns) + 0.3 * np.sin(4 * np.pi * turns)
    tones *= fade / (1.3 * len(taste.chord))
    spectrum = np.fft.rfft(rng.standard_normal(count))
    pitch = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(pitch < taste.band[0]) | (pitch > taste.band[1])] = 0
    noise = np.fft.irfft(spectrum, count)
    swell = fade if taste.decay else 0.6 - 0.4 * np.cos(2 * np.pi * taste.beat * times)
    noise *= swell / max(3 * float(noise.std()), 1e-9)
    mixed = style.gain * ((1 - taste.noise) * tones + taste.noise * noise) + style.hiss * rng.standard_normal(count)
    edge = np.minimum(1, np.minimum(np.arange(1, count + 1), np.arange(count, 0, -1)) / (0.01 * rate))  # no clicks
    return np.clip(0.8 * mixed * edge, -1, 1).astype(np.float32)
