"""Windows of many videos in batches of one fixed shape."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn, TypeAlias

import numpy as np

from reelmill.extractors.core.base import Extractor, Overlapping
from reelmill.pipeline.extract.cut import CutWindows
from reelmill.pipeline.extract.gather import Gather

MOST_FAILURES = 3
"""Batches in a row that may fail before the network, not the videos, is taken to be broken."""

Owners: TypeAlias = list[tuple[Gather, int, int, int]]
"""Gather, segment, from row, to row."""
Wait: TypeAlias = Callable[[], Mapping[str, np.ndarray]]


class Batch:
    """Windows of one extractor from many videos, until the batch is full. The array is filled in place and never
    changes its shape: what stands in unused places is old windows, which touch no other row.

    At most one batch is on its way through the network, while the next is filled; they come back in order."""

    def __init__(self, extractor: Extractor, segment_ms: int) -> None:
        plan = extractor.plan
        self.extractor = extractor
        self.values = np.zeros((extractor.batch_size, *plan.shape(segment_ms)), plan.dtype)
        self.owners: Owners = []
        self.filled = 0
        self.done = 0
        """Windows that the network was given."""
        self.places = 0
        """The same with the unused places of batches that were not full: they cost as much."""
        self.seconds = 0.0
        """In the network, or waiting for it."""
        self._running: tuple[Owners, Wait] | None = None
        self._failures = 0

    def push(self, gather: Gather, segment: int, cut: CutWindows) -> None:
        """Take windows in; run the network whenever the batch is full."""
        done = 0
        while done < len(cut.values):
            n = min(len(cut.values) - done, len(self.values) - self.filled)
            self.values[self.filled : self.filled + n] = cut.values[done : done + n]
            self.owners.append((gather, segment, self.filled, self.filled + n))
            self.filled += n
            done += n
            if self.filled == len(self.values):
                self._launch()

    def flush(self) -> None:
        """Run the network on what is there, and wait for all that is on its way."""
        self._launch()
        self._collect()

    def _launch(self) -> None:
        """Begin with what is there, then take in the batch before, which may have been computed meanwhile."""
        if not self.filled:
            return
        began = time.monotonic()
        begun = self.owners, self._start()
        self.seconds += time.monotonic() - began
        self.done += self.filled
        self.places += len(self.values)
        self.owners, self.filled = [], 0
        self._collect()
        self._running = begun

    def _start(self) -> Wait:
        """What went wrong is raised by what is returned: batches fail in order, too."""
        try:
            if isinstance(self.extractor, Overlapping):
                return self.extractor.start(self.values)
            vectors = self.extractor.forward(self.values)
        except Exception as error:
            return partial(_raise, error)
        return lambda: vectors

    def _collect(self) -> None:
        """Hand the vectors of the batch that is on its way to their videos.

        When the network failed (out of memory on a device, say) the videos of that batch fail; the others go on, unless
        it fails again and again.
        """
        if self._running is None:
            return
        (owners, wait), self._running = self._running, None
        began = time.monotonic()
        try:
            vectors = wait()
        except Exception as error:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise
            for gather, *_ in owners:
                gather.fail(error)
            return
        finally:
            self.seconds += time.monotonic() - began
        self._failures = 0
        for gather, segment, start, stop in owners:
            gather.add(self.extractor.name, segment, {layer: v[start:stop] for layer, v in vectors.items()})


def _raise(error: Exception) -> NoReturn:
    raise error
