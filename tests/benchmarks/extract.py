"""Extraction end to end against the pure forward passes, and three extractors together against one after another.

Videos of 640 × 360 at 25 frames a second, H.264, rendered for the purpose; random weights; every 16-frame window for
C3D, two windows a segment for I3D, one frame a second for VGG-19. "Forward only" is as many full batches of the same
networks, in the same precision and threads, without decoding or storing. A round runs each candidate once; rounds
repeat, and the table gives medians, so that a machine whose speed drifts hurts all alike.

On a GPU, C3D end to end is run once more under torch's profiler, which says what share of the time the device is busy
and with what: what is missing to 1 is spent waiting for frames, and the decoding column says how many cores they take.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.registry import build
from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.extract.missing import ExtractOptions, Video
from reelmill.pipeline.extract.videos import extract
from reelmill.pipeline.probe import probe

VIDEOS, SECONDS, ROUNDS = 6, 20, 3
GPU = torch.cuda.is_available()
WORKERS = max(1, (os.cpu_count() or 1) - 1) if GPU else 1


def moving(seed: int) -> list[np.ndarray]:
    """Frames (360, 640, 3) uint8 of a drifting texture: about the bit rate of a talking head."""
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


def end_to_end(videos: list[Video], networks: list[Extractor]) -> tuple[float, float, dict[str, int]]:
    """Seconds for everything, CPU seconds of the decoding processes, and the windows of each network."""
    with tempfile.TemporaryDirectory() as root:
        began, before = time.perf_counter(), _children()
        done = extract(root, videos, networks, ExtractOptions(workers=WORKERS, thumbnail_height=0))
        return time.perf_counter() - began, _children() - before, done.windows


def one_after_another(videos: list[Video], networks: list[Extractor]) -> tuple[float, float]:
    """The same with a run of its own for each network."""
    runs = [end_to_end(videos, [network]) for network in networks]
    return sum(r[0] for r in runs), sum(r[1] for r in runs)


def forward_only(networks: list[Extractor], windows: dict[str, int]) -> tuple[float, float]:
    """Seconds for the same number of full batches without decoding or storing."""
    total = 0.0
    for network in networks:
        shape = (network.batch_size, *network.plan.shape())
        batch = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        began = time.perf_counter()
        for _ in range(-(-windows[network.name] // network.batch_size)):
            network.forward(batch)
        total += time.perf_counter() - began
    return total, 0.0


def profile(run: Callable[[], tuple[float, ...]]) -> None:
    """Print how much of a run the GPU is busy, and the kernels that take the most."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        seconds = run()[0]
    kernels = profiler.key_averages()
    busy = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    print(f"\nGPU busy {busy / seconds:.0%} of {seconds:.1f} s (copies included, which overlap), by kernel:")
    print(kernels.table(sort_by="self_device_time_total", row_limit=8))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table."""
    three = [
        build("c3d", weights="random", layers=("fc6",)),
        build("i3d_r50", weights="random", windows=2),
        build("vgg19", weights="random"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        videos = corpus(Path(folder))
        length = sum(v.duration_ms for v in videos) / 1000
        *_, counts = end_to_end(videos, three)  # warm-up, and how many windows there are
        runs: dict[str, Callable[[], tuple[float, ...]]] = {
            "c3d, forward only": lambda: forward_only(three[:1], counts),
            "c3d, end to end": lambda: end_to_end(videos, three[:1])[:2],
            "all three, forward only": lambda: forward_only(three, counts),
            "all three, end to end": lambda: end_to_end(videos, three)[:2],
            "all three, one after another": lambda: one_after_another(videos, three),
        }
        took: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                took[name].append(run())
        if GPU:
            profile(runs["c3d, end to end"])
    seconds = {name: median(t[0] for t in rounds) for name, rounds in took.items()}
    where = torch.cuda.get_device_name() if GPU else "CPU"
    print(
        f"{VIDEOS} videos, {length:.0f} s of 640 × 360, {where}, precision {three[0].precision}, "  # type: ignore[attr-defined]
        f"{WORKERS} decoding process{'es' * (WORKERS > 1)}, medians of {ROUNDS} rounds\n"
    )
    print("| | seconds | × real time | decoding, CPU seconds | of the pure forward rate |")
    print("|---|---|---|---|---|")
    for name, rounds in took.items():
        pure = seconds["c3d, forward only" if name.startswith("c3d") else "all three, forward only"]
        decoding = median(t[1] for t in rounds)
        print(
            f"| {name} | {seconds[name]:.1f} | {length / seconds[name]:.1f} | {decoding:.1f} "
            f"| {pure / seconds[name]:.2f} |"
        )


if __name__ == "__main__":
    main()
