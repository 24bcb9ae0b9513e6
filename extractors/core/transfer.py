"""Copy batches to a CUDA device and vectors back while the device computes."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

Vectors = dict[str, np.ndarray]


class Transfer:
    """Copies through pinned memory, which torch reuses for later batches.

    A batch is copied on its own stream while the previous one is computed; its vectors are copied back afterwards.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copying = torch.cuda.Stream(device)

    def start(self, values: Tensor, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Callable[[], Vectors]:
        """Launch `compute` on a batch in host memory, which may be overwritten once this returns.

        `compute` receives the batch on the device and returns {layer: tensor}. The function that is returned waits for
        these tensors and returns them as arrays.
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
