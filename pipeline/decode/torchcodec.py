"""torchcodec in exact mode, frame after frame. For comparison: `pipeline/README.md` says what it gets wrong.

It opens any file, of any size and format, so our own checks come first. It turns rotated videos upright itself, and its
times are those of the container. It imports torch, and it loads the FFmpeg libraries of the system.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av

from reelmill.pipeline.decode.container import Tally, open_video, reason
from reelmill.pipeline.decode.limits import Limits
from reelmill.pipeline.decode.scale import Frame
from reelmill.pipeline.decode.streams import BY_RULE, Streams
from reelmill.pipeline.decode.timeline import check_clock, exact_start, in_ms
from reelmill.pipeline.errors import Corrupt, TooLong, Unsupported


def load() -> ModuleType:
    """The library. Raises Unsupported if it, or the FFmpeg that it needs, is not installed."""
    try:
        import torchcodec
    except (ImportError, OSError, RuntimeError) as error:
        raise Unsupported(f"torchcodec cannot be loaded ({reason(error)}); install reelmill[torchcodec]") from error
    if torchcodec.ffmpeg_major_version is None:
        raise Unsupported("torchcodec finds no FFmpeg libraries; install FFmpeg 4 to 9 with its shared libraries")
    return torchcodec


def identity() -> str:
    """Decoder with its FFmpeg, and the scaler, which gets full-size pictures."""
    torchcodec = load()
    version = torchcodec.__version__.partition("+")[0]  # behind the plus stands for which CUDA it was built
    return (
        f"torchcodec-{version}-ffmpeg-{torchcodec.ffmpeg_major_version}-exact-in-order-rgb24"
        f"-pyav-{av.__version__}-swscale"
    )


def identify(job: None) -> Iterator[str]:
    """Target for a child process: `identity`."""
    yield identity()


def frames(
    path: str | Path, start: float, limits: Limits, tally: Tally, streams: Streams = BY_RULE
) -> Iterator[tuple[float, Frame | None]]:
    """See `reelmill.pipeline.decode.FRAMES`."""
    with open_video(path, limits, streams) as (container, stream):
        number, start = stream.index, exact_start(stream, start)
        guessed = container.format.name == "avi"  # without presentation times, so that the first one is a guess
        check_clock(container, stream, "torchcodec")
    decoders = load().decoders
    try:
        decoder = decoders.VideoDecoder(
            str(path), stream_index=number, dimension_order="NHWC", num_ffmpeg_threads=1, device="cpu"
        )
    except (RuntimeError, ValueError) as error:
        raise Corrupt(
            f"{path} cannot be opened by torchcodec ({reason(error)}); `extract.decoder: pyav` may"
        ) from error
    if len(decoder) > limits.max_frames:
        raise TooLong(f"{path}: {len(decoder)} frames, and no setting allows more than {limits.max_frames:,}")
    if guessed and len(decoder):
        start = decoder.get_frame_at(0).pts_seconds
    latest = stop = 0.0
    for index in range(len(decoder)):
        try:
            frame = decoder.get_frame_at(index)
        except (RuntimeError, IndexError):
            tally.errors += 1
            yield stop, None
            return
        tally.frames += 1
        latest = max(latest, in_ms(frame.pts_seconds - start))
        stop = max(latest, in_ms(frame.pts_seconds + frame.duration_seconds - start))
        yield latest, av.VideoFrame.from_ndarray(frame.data.numpy(), format="rgb24")
    yield stop, None
