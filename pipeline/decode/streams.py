"""Which stream of a file is its picture, and which is its sound. One rule each, for every decoder.

A file may hold several: a preview before the film, the film in two sizes, a second language, a commentary. The rules
are those of ffmpeg (`av_find_best_stream`), with the number of pixels in place of the bit rate, which many files do not
say. What was chosen is stored in the table `media`; the settings `extract.video_stream` and `extract.audio_stream` name
another.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import av
from av.stream import Disposition

from reelmill.pipeline.containers import DEMUXERS
from reelmill.pipeline.decode.limits import Limits, bounded_sound

Stream = TypeVar("Stream", av.VideoStream, av.AudioStream)

IMPAIRED = Disposition.hearing_impaired | Disposition.visual_impaired
PART_OF_FRAMES = 0.5
"""A video stream with fewer than this share of the frames of the longest one is a preview or a strip of pictures."""


@dataclass(frozen=True)
class Streams:
    """Index of the stream of picture and of sound in a file; None: by the rule."""

    video: int | None = None
    audio: int | None = None

    @property
    def named(self) -> str | None:
        """The streams that are named, such as `video 3, audio 2`; None if none is."""
        parts = [f"{kind} {number}" for kind, number in vars(self).items() if number is not None]
        return ", ".join(parts) or None


BY_RULE = Streams()


def video_stream(container: av.container.InputContainer, number: int | None = None) -> av.VideoStream | None:
    """The stream of picture: `number`, if it is a video stream that can be decoded; otherwise of those that can be
    decoded and are not a cover picture, the one flagged as default (less so if it is made for people with impaired
    sight or hearing), that is no preview, with most pixels, with most frames, the first. None if there is none.

    If several streams are equal by their flags, the packets of the file are read and counted, on another handle.
    """
    able = [s for s in container.streams.video if not is_cover(s) and _is_known(s)]
    if (named := _named(able, number)) is not None:
        return named
    able = _preferred(able)
    if len(able) < 2:
        return able[0] if able else None
    frames = _frames(container.name, [stream.index for stream in able])
    most = max(frames.values())
    able = [s for s in able if frames[s.index] >= PART_OF_FRAMES * most]
    return max(able, key=lambda s: (_pixels(s), frames[s.index], -s.index))


def audio_stream(
    container: av.container.InputContainer, limits: Limits, number: int | None = None
) -> av.AudioStream | None:
    """The stream of sound: `number`, if it is a sound stream that can be decoded; otherwise of those that can be
    decoded, within the limits of channels and rate, the one flagged as default (less so if it is made for people with
    impaired sight or hearing), the first. None if there is none.
    """
    able = [s for s in container.streams.audio if _can_be_heard(s, limits)]
    able = able or [s for s in container.streams.audio if _begins_late(s)]
    if (named := _named(able, number)) is not None:
        return named
    able = _preferred(able)
    return able[0] if able else None


def is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is a picture attached to the file, such as the cover of a song."""
    return bool(stream.disposition & Disposition.attached_pic)


def _named(streams: Sequence[Stream], number: int | None) -> Stream | None:
    return next((s for s in streams if s.index == number), None)


def _preferred(streams: Sequence[Stream]) -> list[Stream]:
    """Those with the best flags, in the order of the file."""
    if not streams:
        return []
    scores = [bool(s.disposition & Disposition.default) + (not s.disposition & IMPAIRED) for s in streams]
    return [s for s, score in zip(streams, scores, strict=True) if score == max(scores)]


def _is_known(stream: av.VideoStream) -> bool:
    codec = stream.codec_context
    return codec is not None and codec.name is not None and bool(_pixels(stream))


def _pixels(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _can_be_heard(stream: av.AudioStream, limits: Limits) -> bool:
    codec = stream.codec_context
    return codec is not None and bounded_sound(codec.layout.nb_channels, codec.sample_rate, limits)


def _begins_late(stream: av.AudioStream) -> bool:
    """Whether the demuxer has seen no packet of a stream when it opened the file, so that its numbers are not known:
    MPEG-TS, with sound that begins later than the picture. Each frame is checked as it is decoded."""
    codec = stream.codec_context
    return codec is not None and not (codec.layout.nb_channels and codec.sample_rate)


def _frames(path: str, numbers: Sequence[int]) -> dict[int, int]:
    """{index of a stream: its packets}, read to the end of the file or to where it is damaged."""
    counts = dict.fromkeys(numbers, 0)
    with open_file(path) as container:
        packets = container.demux([container.streams[number] for number in numbers])
        with contextlib.suppress(av.FFmpegError, IndexError):  # IndexError: a stream begins in its middle
            for packet in packets:
                counts[packet.stream_index] += bool(packet.size)
    return counts


def open_file(path: str) -> av.container.InputContainer:
    """Open a file by the demuxers of the list, which read no other file and no network. Raises what PyAV raises."""
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    return av.open(path, options=options, metadata_errors="replace")
