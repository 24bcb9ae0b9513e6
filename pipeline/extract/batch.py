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
"""After this many failed batches in a row the network is broken, not the videos."""

Owners: TypeAlias = list[tuple[Gather, int, int, int]]
"""(gather, segment, start row, stop row) for each piece of a batch."""
Wait: TypeAlias = Callable[[], Mapping[str, np.ndarray]]


class Batch:
    """Windows of one extractor from many videos, until the batch is full. The array is filled in place and keeps
    its shape: unused rows hold old windows, which do not influence other rows.

    At most one batch is in the network while the next is filled; results arrive in order."""

    def __init__(self, extractor: Extractor, segment_ms: int) -> None:
        plan = extractor.plan
        self.extractor = extractor
        self.values = np.zeros((extractor.batch_size, *plan.shape(segment_ms)), plan.dtype)
        self.owners: Owners = []
        self.filled = 0
        self.done = 0
        """Windows that were given to the network."""
        self.places = 0
        """Rows of all batches, including unused ones, which cost as much."""
        self.seconds = 0.0
        """In the network, or waiting for it."""
        self._running: tuple[Owners, Wait] | None = None
        self._failures = 0

    def push(self, gather: Gather, segment: int, cut: CutWindows) -> None:
        """Add windows; run the network whenever the batch is full."""
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
        """Run the network on the windows that are left, and wait for all results."""
        self._launch()
        self._collect()

    def _launch(self) -> None:
        """Start the network on this batch, then collect the previous one, which may be finished by now."""
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
        """An error is raised by the function that is returned, so that batches fail in order, too."""
        try:
            if isinstance(self.extractor, Overlapping):
                return self.extractor.start(self.values)
            vectors = self.extractor.forward(self.values)
        except Exception as error:
            return partial(_raise, error)
        return lambda: vectors

    def _collect(self) -> None:
        """Give the vectors of the running batch to their videos.

        If the network failed (out of memory on a device, say) the videos of that batch fail and the others go on,
        unless it fails repeatedly.
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
