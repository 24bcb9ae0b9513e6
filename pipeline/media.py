"""Media files of a root that may be on an object store: brought to this machine while they are read, and before."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from reelmill.pipeline.errors import NotFound, VideoError
from reelmill.pipeline.extract.cut import CutJob
from reelmill.pipeline.extract.gather import Gather
from reelmill.storage import cache
from reelmill.storage.errors import StoreError
from reelmill.storage.place import AnyPath, is_url, place


@contextlib.contextmanager
def at_hand(path: str | AnyPath) -> Iterator[Path]:
    """A media file as a file of this machine, as long as the block lasts. Raises NotFound; a VideoError of the block
    names the object, not its copy."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(cache.pinned(place(path)))
        except FileNotFoundError:
            raise NotFound(f"{path} is not a file") from None
        try:
            yield file
        except VideoError as error:
            error.args = (str(error).replace(str(file), str(path)),)
            raise


def ahead(jobs: Iterable[tuple[Gather, CutJob]], count: int) -> Iterator[tuple[Gather, CutJob]]:
    """The same jobs in the same order; those whose media are on an object store start to come while `count` others are
    decoded."""
    waiting: deque[tuple[Gather, CutJob, Future[None] | None]] = deque()
    with ThreadPoolExecutor(count, "media") as pool:
        try:
            for gather, job in jobs:
                waiting.append((gather, job, pool.submit(_bring, job.path) if is_url(job.path) else None))
                if len(waiting) > count or waiting[0][2] is None:
                    yield waiting.popleft()[:2]
            while waiting:
                yield waiting.popleft()[:2]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _bring(path: str) -> None:
    with contextlib.suppress(OSError, StoreError):  # who decodes it asks again, and tells
        cache.local(place(path))
