"""Sound of a video on the clock of its picture: one forward pass, each run of samples placed by its timestamp.

Within a run samples are consecutive, so that timestamps that a container rounds do not split it; a jump begins a new
run. Sound before the first frame of the picture is dropped; a gap stays a gap.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np

from reelmill.pipeline.decode import BY_RULE, Limits, Streams, Tally, audio_stream, bounded_sound, open_video
from reelmill.pipeline.decode.timeline import Timeline

JUMP_S = 0.015
"""A timestamp further than this from the end of the run begins a new one. Containers round timestamps to 1 ms or less,
and losing the shortest usual frame leaves a gap of 20 ms."""

LOUDEST = 1000.0
"""Samples beyond this (60 dB over full scale) come from damaged data and are ignored."""

Samples: TypeAlias = tuple[int, np.ndarray]
"""Number of the first sample, counted from the first frame of the picture, and the samples (n,) float32."""


def identity() -> str:
    """Decoders and resampler, which change the samples and so are part of the specs of sound."""
    libraries = (f"{name}-{'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libswresample"))
    return f"pyav-{av.__version__}-in-order-{'-'.join(libraries)}"


def read_sound(
    path: str | Path, start_ms: int, rate: int, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[Samples]:
    """Samples of the stream of sound (`streams.audio_stream`) in ascending order, never overlapping, channels averaged,
    `rate` a second; NaN where a sample is not a number. Yields nothing if there is no such stream or none of it can be
    decoded.

    `start_ms`: time of the first frame of the picture on the container's clock, sample 0. Raises what `open_video`
    raises.
    """
    reached = 0
    with open_video(path, limits, streams) as (container, picture):
        decoded = _decode(container, picture, streams.audio, limits, tally)
        for first, samples in _runs(decoded, start_ms / 1000, rate, limits, tally):
            skip = max(reached - first, 0)
            if skip < len(samples):
                reached = first + len(samples)
                yield first + skip, np.where(np.abs(samples[skip:]) <= LOUDEST, samples[skip:], np.float32(np.nan))


def _runs(
    frames: Iterator[av.AudioFrame | None], start: float, rate: int, limits: Limits, tally: Tally
) -> Iterator[Samples]:
    run: _Run | None = None
    for frame in frames:
        if frame is None:
            if run is not None:
                yield from run.take(None)
            run = None
            continue
        if not bounded_sound(frame.layout.nb_channels, frame.sample_rate, limits):
            tally.sound_errors += 1  # it changes on the way
            continue
        time = frame.time - start if frame.time is not None else run.until if run else 0.0
        try:
            if run is None or not run.goes_on(frame, time):
                if run is not None:
                    yield from run.take(None)
                run = _Run(frame, time, rate)
            tally.sound_seconds += frame.samples / frame.sample_rate
            yield from run.take(frame)
        except (av.FFmpegError, ValueError):  # a layout that cannot be resampled
            tally.sound_errors += 1
            run = None
    if run is not None:
        yield from run.take(None)


class _Run:
    """Sound without a jump or a change of format, through one resampler."""

    def __init__(self, frame: av.AudioFrame, time: float, rate: int) -> None:
        self.format = self._format(frame)
        self.until = time
        """End of the sound so far, in seconds."""
        self.next = round(time * rate)
        """Number of the next sample; only the first timestamp of a run is used."""
        # packed: PyAV counts the planes of 8 channels or more past the end of their list, and crashes
        self.resampler = av.AudioResampler(format="flt", rate=rate)

    def goes_on(self, frame: av.AudioFrame, time: float) -> bool:
        return self._format(frame) == self.format and abs(time - self.until) <= JUMP_S

    def take(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        """Resample a frame; None at the end, for what the resampler has kept."""
        if frame is not None:
            self.until += frame.samples / frame.sample_rate
        elif self.resampler.is_passthrough:
            return
        for resampled in self.resampler.resample(frame):
            samples = resampled.to_ndarray().reshape(-1, resampled.layout.nb_channels).T.mean(axis=0)
            yield self.next, samples
            self.next += len(samples)

    def _format(self, frame: av.AudioFrame) -> tuple[str, str, int]:
        return frame.format.name, frame.layout.name, frame.sample_rate


def _decode(
    container: av.container.InputContainer, picture: av.VideoStream, number: int | None, limits: Limits, tally: Tally
) -> Iterator[av.AudioFrame | None]:
    """Frames of the stream of sound, in order; packets that cannot be decoded are counted. None where the clock of the
    file is reset or jumps: what follows is placed by its own timestamp."""
    stream = audio_stream(container, limits, number)
    if stream is None:
        tally.sound_errors += bool(container.streams.audio)  # there is sound, but none that can be decoded
        return
    packets = Timeline(container, picture, stream)
    shift = None
    for packet in packets:
        if shift not in (None, packets.shift):
            yield None
        shift = packets.shift
        try:
            yield from packet.decode()
        except av.FFmpegError:
            tally.sound_errors += 1
    tally.sound_errors += packets.cut_short
