"""Measure a media file, by its packets: what its header claims is only used to check what was measured.

`measure` runs in a child process (`reelmill.pipeline.process.child`), as all code that parses foreign files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.pipeline.decode import (
    BY_RULE,
    Limits,
    Streams,
    Tally,
    audio_stream,
    open_video,
    quarter_turns,
    read_frames,
    scan,
)
from reelmill.pipeline.decode.contradictions import Contradiction, contradictions, not_there, sample_aspect
from reelmill.pipeline.errors import Corrupt, TooLong
from reelmill.pipeline.media import digest


@dataclass(frozen=True)
class Measured:
    """What was measured of a file."""

    facts: dict[str, Any]
    """The measured columns of the table `media`."""
    contradictions: Sequence[Contradiction]


COLUMNS = (
    "start_ms", "duration_ms", "bytes", "rotation", "sample_aspect", "video_stream", "audio_stream", "named_streams",
)  # fmt: skip
"""Columns of `media` that say how a file is decoded."""


def streams_of(row: Mapping[str, Any]) -> Streams:
    """The streams by a row of `media`; by the rules, where an older version wrote it."""
    return Streams(row["video_stream"], row["audio_stream"])


def aspect_of(row: Mapping[str, Any]) -> Fraction:
    """Width of a pixel of the upright frame divided by its height, by a row of `media`; 1 where an older version wrote
    it."""
    width, _, height = (row["sample_aspect"] or "1:1").partition(":")
    aspect = Fraction(int(width), int(height))
    return 1 / aspect if row["rotation"] in (90, 270) else aspect


def measure(job: dict[str, Any]) -> Iterator[Measured]:
    """Target for a child process. Job: `path`, `limits`, and `streams` if some are named. One message."""
    yield examine(job["path"], job["limits"], job.get("streams", BY_RULE))


def probe(path: str | Path, limits: Limits | None = None, streams: Streams = BY_RULE) -> dict[str, Any]:
    """The facts of `examine` alone."""
    return examine(path, limits, streams).facts


def examine(path: str | Path, limits: Limits | None = None, streams: Streams = BY_RULE) -> Measured:
    """Measure one file. `streams`: those that the settings name; the others are chosen by the rules in
    `decode/streams.py`.

    Duration is the end of the last frame minus the start of the first, by the times of the packets; of a file that
    is truncated after its index, by that index, so that the rest is known to be missing. Frames that are never shown
    (`decode/shown.py`) do not count. The rate is variable if a gap between frames differs from the median gap by more
    than 1 ms and 1 % (containers round times to their clock). Raises NotFound, Unsupported, Corrupt, NoVideoStream,
    TooLong, TooManyPixels.
    """
    limits = limits or Limits()
    path = Path(path)
    with open_video(path, limits, streams) as (container, stream):
        sound = audio_stream(container, limits, streams.audio)
        chosen = Streams(stream.index, None if sound is None else sound.index)
        aspect, wrong = sample_aspect(stream)
        facts = {
            "container": container.format.name,
            "codec": stream.codec_context.codec.canonical_name,
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "sample_aspect": f"{aspect.numerator}:{aspect.denominator}",
            "audio_rate": None if sound is None else sound.codec_context.sample_rate or None,
            "video_stream": chosen.video,
            "audio_stream": chosen.audio,
            "named_streams": streams.named,
        }
        packets = scan(container, stream, limits)
        found = [*wrong, *contradictions(container, stream, sound, packets), *not_there(streams, chosen)]
    seconds = packets.whole_stop - packets.start
    if seconds > limits.max_seconds:
        raise TooLong(f"{path}: {seconds:.0f} s, the limit is {limits.max_seconds:.0f} s (extract.max_seconds)")
    if len(packets.times) > limits.max_frames:
        raise TooLong(f"{path}: {len(packets.times):,} frames, and no setting allows more than {limits.max_frames:,}")
    duration_ms = round(seconds * 1000)
    if duration_ms <= 0:
        raise Corrupt(f"{path}: all its frames have the same time")
    sha256, size = digest(path)
    facts |= {
        "rotation": _rotation(path, limits, chosen),
        "sha256": sha256,
        "bytes": size,
        "start_ms": round(packets.start * 1000),
        "duration_ms": duration_ms,
        "frame_count": len(packets.times),
        "mean_fps": len(packets.times) / seconds,
        "variable_rate": _uneven(packets.times),
        "fetched_at": datetime.fromtimestamp(path.stat().st_mtime, UTC),
    }
    return Measured(facts, found)


def _uneven(times: np.ndarray) -> bool:
    gaps = np.diff(times)
    if len(gaps) < 2:
        return False
    return bool(np.abs(gaps - np.median(gaps)).max() > max(0.0011, 0.01 * np.median(gaps)))


def _rotation(path: Path, limits: Limits, streams: Streams) -> int:
    """Degrees counter-clockwise that turn the first decodable frame upright."""
    with open_video(path, limits, streams) as (container, stream):
        for _, frame in read_frames(container, stream, 0.0, limits, Tally()):
            if frame is not None:
                return 90 * quarter_turns(frame)
    raise Corrupt(f"{path}: no frame of it can be decoded")
