"""Decoding ahead: child processes cut videos while the networks are busy."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias

from reelmill.pipeline.decode import Decoder, Limits, Tally, loader, memory_bytes
from reelmill.pipeline.extract.cut import CutJob, CutSegment
from reelmill.pipeline.extract.gather import Gather
from reelmill.pipeline.media import at_hand
from reelmill.pipeline.process.child import Child
from reelmill.storage import cache
from reelmill.storage.errors import StoreError
from reelmill.storage.place import is_url, place

Message: TypeAlias = CutSegment | Tally | Exception
"""A segment; the tally at the end of a video; or why it could not be decoded."""


def decode_ahead(
    jobs: Iterable[tuple[Gather, CutJob]], workers: int, limits: Limits, decoder: Decoder = "pyav"
) -> Iterator[tuple[Gather, Message]]:
    """Cut videos in `workers` processes, ahead of the networks by a bounded number of segments. A video that fails ends
    with its exception as the last message."""
    ready: queue.Queue[tuple[Gather, Message] | BaseException | None] = queue.Queue(maxsize=8 * workers)
    waiting = fetch_ahead(jobs, workers)
    lock, stop = threading.Lock(), threading.Event()
    children: list[Child] = []

    def put(item: tuple[Gather, Message] | BaseException | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.2)
                return

    def cut_all() -> None:
        memory = memory_bytes(decoder, limits)
        with Child("reelmill.pipeline.extract.cut:cut", memory_bytes=memory, prepare=loader(decoder)) as child:
            children.append(child)
            while not stop.is_set():
                with lock:
                    entry = next(waiting, None)
                if entry is None:
                    return
                gather, job = entry
                try:
                    with at_hand(job.path) as file:
                        for message in child.run(replace(job, path=str(file)), limits.wall_seconds):
                            put((gather, message))
                            if stop.is_set():
                                return
                except Exception as error:
                    put((gather, error))

    def work() -> None:
        ended: BaseException | None = None
        try:
            cut_all()
        except BaseException as error:  # of any kind: the consumer must not wait for ever
            ended = error
        put(ended)

    threads = [threading.Thread(target=work, name=f"decode-{i}", daemon=True) for i in range(workers)]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stop.set()
        for child in children:
            child.interrupt()  # a long video must not keep a process that was told to end
        for thread in threads:
            thread.join(timeout=5)


def fetch_ahead(jobs: Iterable[tuple[Gather, CutJob]], count: int) -> Iterator[tuple[Gather, CutJob]]:
    """The same jobs in the same order; media on an object store are fetched while `count` other videos are decoded."""
    waiting: deque[tuple[Gather, CutJob, Future[None] | None]] = deque()
    with ThreadPoolExecutor(count, "media") as pool:
        try:
            for gather, job in jobs:
                waiting.append((gather, job, pool.submit(_fetch, job.path) if is_url(job.path) else None))
                if len(waiting) > count or waiting[0][2] is None:
                    yield waiting.popleft()[:2]
            while waiting:
                yield waiting.popleft()[:2]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fetch(path: str) -> None:
    with contextlib.suppress(OSError, StoreError):  # the decoder asks again, and its error is reported
        cache.local(place(path))
