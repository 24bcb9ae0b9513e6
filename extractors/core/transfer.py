"""Batches to a CUDA device and vectors back, beside what it computes."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

Vectors = dict[str, np.ndarray]


class Transfer:
    """Copies from and to pinned memory, which torch keeps and uses again for later batches.

    A batch goes over on a stream of its own, while the one before is still computed; its vectors come back behind it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copying = torch.cuda.Stream(device)

    def start(self, values: Tensor, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Callable[[], Vectors]:
        """Launch `compute` on a batch, which is on the host and may be overwritten once this returns.

        `compute` is given the batch on the device. What is returned waits for its tensors and gives them as arrays.
        """
        computing = torch.cuda.current_stream(self.device)
        pinned = values.pin_memory()
        with torch.cuda.stream(self._copying):
            there = pinned.to(self.device, non_blocking=True)
        computing.wait_stream(self._copying)
        there.record_stream(computing)  # else the next copy could take its memory while it is still read
        found = {name: tensor.to("cpu", non_blocking=True) for name, tensor in compute(there).items()}
        ended = torch.cuda.Event()
        ended.record(computing)

        def wait() -> Vectors:
            ended.synchronize()
            return {name: tensor.numpy() for name, tensor in found.items()}

        return wait
