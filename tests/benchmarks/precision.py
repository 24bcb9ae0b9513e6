"""What bfloat16 and channels-last cost in agreement, and bring in speed. `python -m tests.benchmarks precision`

Random weights; 16 rendered and decoded scenes. The three ways of computing take turns batch by batch, so that a machine
whose speed drifts hurts all alike. What is timed is `forward`: pixels to vectors.
"""

import gc
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reelmill.extractors.core.network import FrameNetwork
from tests.benchmarks import interleaved, table
from tests.networks import NETWORKS, cosine, make
from tests.scenes import in_batches, seen_by, write_scenes

ROUNDS = 8
PLAIN, LAST, AUTO = "float32, contiguous", "float32, channels last", "auto, channels last"


def contiguous(network: FrameNetwork) -> FrameNetwork:
    """The same network without channels-last, which is no setting."""
    network.network = network.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    channels_last = network._input

    def plain(values: Tensor) -> Tensor:
        return channels_last(values).contiguous()

    network._input = plain  # type: ignore[method-assign]
    return network


def main() -> None:
    """Print both tables."""
    agreement, speed = [], []
    with tempfile.TemporaryDirectory() as folder:
        videos = write_scenes(Path(folder), 4)
        for name, kind in NETWORKS.items():
            size = kind.batch_sizes["cpu"]
            networks = {
                PLAIN: contiguous(make(name, precision="float32", batch_size=size)),
                LAST: make(name, precision="float32", batch_size=size),
                AUTO: make(name, precision="auto", batch_size=size),
            }
            rough = networks[AUTO]
            if rough.precision != "bfloat16":
                rough = make(name, precision="bfloat16", batch_size=size)
            windows = seen_by(rough, videos)
            exact = in_batches(networks[LAST], windows)
            for layer, vectors in in_batches(rough, windows).items():
                agree = cosine(vectors, exact[layer])
                agreement.append((name, layer, f"{agree.min():.6f}", f"{statistics.median(agree):.6f}"))
            rng = np.random.default_rng(0)
            took = interleaved(
                {way: network.forward for way, network in networks.items()},
                lambda rng=rng, windows=windows, size=size: windows[rng.choice(len(windows), size, replace=False)],
                rounds=ROUNDS,
                limit_s=60,
            )
            each = [took[way] / size for way in networks]
            speed.append((name, networks[AUTO].precision, *each, each[0] / each[1], each[0] / each[2]))
            del networks, rough
            gc.collect()
    table("Cosine of bfloat16 to float32, 16 rows", ("network", "layer", "least", "median"), agreement)
    ratios = ("channels last ×", "auto ×")
    table("Milliseconds a window, on the CPU", ("network", "auto is", PLAIN, LAST, AUTO, *ratios), speed)


if __name__ == "__main__":
    main()
