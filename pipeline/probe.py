"""Measure a media file, by its packets: what its header claims is not used.

`measure` runs in a child process (`reelmill.pipeline.process.child`), as all code that parses foreign files.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.pipeline.decode import Limits, Tally, open_video, quarter_turns, read_frames, scan
from reelmill.pipeline.errors import Corrupt, TooLong
from reelmill.pipeline.media import digest


def measure(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Target for a child process. Job: `path`, `limits`. One message: the measured columns of the `media` table."""
    yield probe(job["path"], job["limits"])


def probe(path: str | Path, limits: Limits | None = None) -> dict[str, Any]:
    """The measured columns of `media` for one file.

    Duration is the end of the last frame minus the start of the first, by the times of the packets; of a file that
    is truncated after its index, by that index, so that the rest is known to be missing. The rate is variable if a gap
    between frames differs from the median gap by more than 1 ms and 1 % (containers round times to their clock).
    Raises NotFound, Unsupported, Corrupt, NoVideoStream, TooLong, TooManyPixels.
    """
    limits = limits or Limits()
    path = Path(path)
    with open_video(path, limits) as (container, stream):
        packets = scan(container, stream, limits)
        seconds = packets.whole_stop - packets.start
        sound = container.streams.audio[0].codec_context if container.streams.audio else None
        facts = {
            "container": container.format.name,
            "codec": stream.codec_context.codec.canonical_name,
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "audio_rate": (sound.sample_rate or None) if sound else None,  # an unknown codec has none
        }
    if seconds > limits.max_seconds or len(packets.times) > limits.max_frames:
        raise TooLong(
            f"{path}: {seconds:.0f} s and {len(packets.times)} frames, the limits are "
            f"{limits.max_seconds:.0f} s and {limits.max_frames} (limits.max_seconds, limits.max_frames)"
        )
    duration_ms = round(seconds * 1000)
    if duration_ms <= 0:
        raise Corrupt(f"{path}: all its frames have the same time")
    sha256, size = digest(path)
    return {
        **facts,
        "rotation": _rotation(path, limits),
        "sha256": sha256,
        "bytes": size,
        "start_ms": round(packets.start * 1000),
        "duration_ms": duration_ms,
        "frame_count": len(packets.times),
        "mean_fps": len(packets.times) / seconds,
        "variable_rate": _uneven(packets.times),
        "fetched_at": datetime.fromtimestamp(path.stat().st_mtime, UTC),
    }


def _uneven(times: np.ndarray) -> bool:
    gaps = np.diff(times)
    if len(gaps) < 2:
        return False
    return bool(np.abs(gaps - np.median(gaps)).max() > max(0.0011, 0.01 * np.median(gaps)))


def _rotation(path: Path, limits: Limits) -> int:
    """Degrees counter-clockwise that turn the first decodable frame upright."""
    with open_video(path, limits) as (container, stream):
        for _, frame in read_frames(container, stream, 0.0, limits, Tally()):
            return 90 * quarter_turns(frame)
    raise Corrupt(f"{path}: no frame of it can be decoded")
