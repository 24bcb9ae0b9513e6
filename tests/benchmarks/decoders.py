"""Frames a second of each decoder against the ffmpeg program, one thread each, on 360p H.264; alone, and with the
scaling that C3D asks for. Decoders take turns, each in its own process. `python -m tests.benchmarks decoders`
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from reelmill.extractors.core.frames import Geometry
from reelmill.pipeline.decode import Decoder, Limits, Scaler, Tally, frames
from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.process.child import Child
from tests.benchmarks import interleaved, table
from tests.matrix import DECODERS, process

SECONDS, FPS, ROUNDS = 20, 25, 7
FFMPEG, SCALED = "ffmpeg to null", ", scaled to 171 × 128"
C3D = Geometry(crop=(128, 171), scale_to=(128, 171))


def picture(number: int) -> np.ndarray:
    """(360, 640, 3) uint8: a texture that drifts."""
    texture = np.random.default_rng(0).integers(0, 255, (45, 80, 3)).astype(np.uint8)
    return np.roll(texture.repeat(8, 0).repeat(8, 1), 3 * number, axis=1)


def decode(job: tuple[Decoder, str, bool]) -> Iterator[int]:
    """Target for a child process: decode a whole file, and scale its frames if asked; yields their number."""
    decoder, path, scaled = job
    tally, scaler = Tally(), Scaler(C3D)
    for _, _, frame in frames(path, decoder, 0.0, Limits(), tally):
        if scaled:
            scaler(frame)
    yield tally.frames


def by_ffmpeg(path: str, scaled: bool, drawn: None) -> None:
    """The same by the program of imageio-ffmpeg, its frames thrown away."""
    how = ["-vf", "scale=171:128:flags=bilinear,format=rgb24", "-filter_threads", "1"] if scaled else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", path, *how, "-f", "null", "-"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def by_us(child: Child, decoder: Decoder, path: str, scaled: bool, drawn: None) -> None:
    """One turn of a decoder."""
    assert list(child.run((decoder, path, scaled), 600)) == [SECONDS * FPS]


def main() -> None:
    """Print the table."""
    methods: dict[str, Callable[[None], object]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = str(write_video(folder / "v.mp4", map(picture, range(SECONDS * FPS)), FPS, None, 22_050))
        for decoder in DECODERS:
            links = folder / decoder
            links.mkdir()
            if child := stack.enter_context(process(decoder, "tests.benchmarks.decoders:decode", links)):
                by_us(child, decoder, path, False, None)  # starts the process, which is not to be measured
                methods |= {decoder + how: partial(by_us, child, decoder, path, bool(how)) for how in ("", SCALED)}
        methods |= {FFMPEG + how: partial(by_ffmpeg, path, bool(how)) for how in ("", SCALED)}
        took = interleaved(methods, lambda: None, ROUNDS, limit_s=120)
    table(
        f"{SECONDS * FPS} frames of 640 × 360 H.264, medians of {ROUNDS} rounds",
        ("decoder", "frames/s", "of ffmpeg"),
        [
            (name, SECONDS * FPS * 1000 / ms, took[FFMPEG + SCALED * name.endswith(SCALED)] / ms)
            for name, ms in took.items()
        ],
    )


if __name__ == "__main__":
    main()
