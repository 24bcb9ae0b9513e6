"""decord, from its first frame to its last. For comparison: `pipeline/README.md` says what it gets wrong.

It opens any file, of any size and format, so our own checks come first. It turns rotated videos upright itself, and its
times begin at the start of the stream.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av

from reelmill.pipeline.decode.container import Tally, open_video, reason
from reelmill.pipeline.decode.limits import Limits
from reelmill.pipeline.decode.scale import Frame
from reelmill.pipeline.decode.streams import BY_RULE, Streams, is_cover
from reelmill.pipeline.decode.timeline import check_clock
from reelmill.pipeline.errors import Corrupt, TooLong, Unsupported


def load() -> ModuleType:
    """The library. Raises Unsupported if it is not installed."""
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:
        raise Unsupported(f"decord cannot be loaded ({error}); `pip install decord`, where it is offered") from error
    return decord


def identity() -> str:
    """Decoder, and the scaler, which gets full-size pictures."""
    return f"decord-{load().__version__}-in-order-rgb24-pyav-{av.__version__}-swscale"


def identify(job: None) -> Iterator[str]:
    """Target for a child process: `identity`."""
    yield identity()


def frames(
    path: str | Path, start: float, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[tuple[float, Frame | None]]:
    """See `reelmill.pipeline.decode.FRAMES`. `start` is not used: decord has subtracted it from its times."""
    with open_video(path, limits, streams) as (container, stream):
        if (others := sum(not is_cover(s) for s in container.streams.video)) > 1:
            raise Unsupported(f"{path} has {others} video streams, of which decord reads its own choice, not stream "
                              f"{stream.index}; use `extract.decoder: pyav`")  # fmt: skip
        check_clock(container, stream, "decord")
    decord = load()
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        count = len(reader)
        times = 1000.0 * reader.get_frame_timestamp(range(count)).astype(float)
    except (decord.DECORDError, RuntimeError, AssertionError) as error:
        raise Corrupt(f"{path} cannot be opened by decord ({reason(error)}); `extract.decoder: pyav` may") from error
    if count > limits.max_frames:
        raise TooLong(f"{path}: {count} frames, and no setting allows more than {limits.max_frames:,}")
    latest = 0.0
    for time in times[:, 0].round(3).tolist():
        latest = max(latest, time)
        try:
            picture = reader.next().asnumpy()
        except (decord.DECORDError, StopIteration):
            tally.errors += 1
            yield latest, None
            return
        tally.frames += 1
        yield latest, av.VideoFrame.from_ndarray(picture, format="rgb24")
    yield max([latest, *times[-1:, 1].round(3).tolist()]), None
