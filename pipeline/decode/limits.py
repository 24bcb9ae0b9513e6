"""Bounds that are checked before and while a video is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that are checked before and while decoding."""

    max_seconds: float = 6 * 3600
    max_frames: int = 2_000_000
    max_pixels: int = 4096 * 2304
    max_channels: int = 64
    """Most channels of sound; sound with more is ignored."""
    sound_rates: tuple[int, int] = (1_000, 768_000)
    """Fewest and most samples per second; sound with another rate is ignored."""
    wall_seconds: float = 3600
    """Longest time for one video; then its process is killed."""
    memory_bytes: int = 4 << 30
    """Private memory of a decoding process."""


def bounded_sound(channels: int, rate: int, limits: Limits) -> bool:
    """Whether the channels and rate of sound are within the limits."""
    return 0 < channels <= limits.max_channels and limits.sound_rates[0] <= rate <= limits.sound_rates[1]
