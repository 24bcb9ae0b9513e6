"""Windows of many videos in batches of one fixed shape."""

import numpy as np

from extractors.base import Extractor
from pipeline.cut import CutWindows
from pipeline.gather import Gather

MOST_FAILURES = 3
"""Batches in a row that may fail before the network, not the videos, is taken to be broken."""


class Batch:
    """Windows of one extractor from many videos, until the batch is full. The array is filled in place and never
    changes its shape: what stands in unused places is old windows, which touch no other row."""

    def __init__(self, extractor: Extractor) -> None:
        height, width = extractor.geometry.crop
        self.extractor = extractor
        self.pixels = np.zeros((extractor.batch_size, extractor.windows.length, height, width, 3), np.uint8)
        self.owners: list[tuple[Gather, int, int, int]] = []  # gather, segment, from row, to row
        self.filled = 0
        self.done = 0
        """Windows that the network has seen."""
        self._failures = 0

    def push(self, gather: Gather, segment: int, cut: CutWindows) -> None:
        """Take windows in; run the network whenever the batch is full."""
        done = 0
        while done < len(cut.pixels):
            n = min(len(cut.pixels) - done, len(self.pixels) - self.filled)
            self.pixels[self.filled : self.filled + n] = cut.pixels[done : done + n]
            self.owners.append((gather, segment, self.filled, self.filled + n))
            self.filled += n
            done += n
            if self.filled == len(self.pixels):
                self.flush()

    def flush(self) -> None:
        """Run the network on what is there and hand the vectors to their videos.

        When the network fails (out of memory on a device, say) the videos of this batch fail; the others go on, unless
        it fails again and again.
        """
        if not self.filled:
            return
        owners, self.owners = self.owners, []
        self.done += self.filled
        self.filled = 0
        try:
            vectors = self.extractor.forward(self.pixels)
        except Exception as error:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise
            for gather, *_ in owners:
                gather.fail(error)
            return
        self._failures = 0
        for gather, segment, start, stop in owners:
            gather.add(self.extractor.name, segment, {layer: v[start:stop] for layer, v in vectors.items()})
