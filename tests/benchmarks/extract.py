"""Extraction end to end against the pure forward passes, and one extractor against three, in one run.

Videos of 640 × 360 at 25 frames a second, H.264, rendered for the purpose; random weights; every 16-frame window for
C3D, two windows a segment for I3D, one frame a second for VGG-19. A round runs each candidate once; rounds repeat, and
the table gives medians, so that a machine whose speed drifts hurts all alike.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from extractors.base import Extractor
from extractors.registry import build
from pipeline.decode import Limits
from pipeline.extract import ExtractOptions, Video, extract
from pipeline.probe import probe
from pipeline.render import write_video

VIDEOS, SECONDS, ROUNDS = 4, 10, 3


def moving(seed: int) -> list[np.ndarray]:
    """Frames (360, 640, 3) uint8 of a drifting texture with noise: about the bit rate of a talking head."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (45, 80, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(texture, 3 * t, axis=1) for t in range(25 * SECONDS)]


def corpus(folder: Path) -> list[Video]:
    """The videos, measured."""
    videos = []
    for number in range(VIDEOS):
        path = write_video(folder / f"{number}.mp4", iter(moving(number)), 25, None, 22_050)
        facts = probe(path)
        videos.append(Video(path.stem, str(path), facts["sha256"], facts["start_ms"], facts["duration_ms"]))
    return videos


def end_to_end(videos: list[Video], networks: list[Extractor], workers: int = 1) -> tuple[float, dict[str, int]]:
    """Seconds for everything, and the windows of each network."""
    with tempfile.TemporaryDirectory() as root:
        began = time.perf_counter()
        done = extract(root, videos, networks, ExtractOptions(workers=workers, thumbnail_height=0, limits=Limits()))
        return time.perf_counter() - began, done.windows


def forward_only(networks: list[Extractor], windows: dict[str, int]) -> float:
    """Seconds for the same number of full batches without decoding or storing."""
    total = 0.0
    for network in networks:
        height, width = network.geometry.crop
        batch = np.random.default_rng(0).integers(
            0, 255, (network.batch_size, network.windows.length, height, width, 3), np.uint8
        )
        began = time.perf_counter()
        for _ in range(-(-windows[network.name] // network.batch_size)):
            network.forward(batch)
        total += time.perf_counter() - began
    return total


def main() -> None:
    """Print the table."""
    networks = {
        "c3d": build("c3d", weights="random", layers=("fc6",)),
        "i3d_r50": build("i3d_r50", weights="random", windows=2),
        "vgg19": build("vgg19", weights="random"),
    }
    with tempfile.TemporaryDirectory() as folder:
        videos = corpus(Path(folder))
        length = sum(v.duration_ms for v in videos) / 1000
        three = list(networks.values())
        _, counts = end_to_end(videos, three)  # warm-up, and how many windows there are
        runs: dict[str, Callable[[], float]] = {
            "c3d, forward only": lambda: forward_only(three[:1], counts),
            "c3d, end to end": lambda: end_to_end(videos, three[:1])[0],
            "all three, forward only": lambda: forward_only(three, counts),
            "all three, end to end": lambda: end_to_end(videos, three)[0],
            "all three, one after another": lambda: sum(end_to_end(videos, [n])[0] for n in three),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                seconds[name].append(run())
    print(f"{VIDEOS} videos, {length:.0f} s of 640 × 360, precision {three[0].precision}, medians of {ROUNDS} rounds\n")
    print("| | seconds | × real time | of the pure forward rate |")
    print("|---|---|---|---|")
    for name, took in seconds.items():
        base = median(seconds["c3d, forward only" if name.startswith("c3d") else "all three, forward only"])
        print(f"| {name} | {median(took):.1f} | {length / median(took):.1f} | {base / median(took):.2f} |")


if __name__ == "__main__":
    main()
