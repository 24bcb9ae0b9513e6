"""How a job's steps are executed: in this process (here), or as Prefect tasks and on Ray (`reelmill.flows.serve`).

A job is a function of settings and an executor. It hands each step to the executor, so that the same job runs with and
without Prefect, and knows of neither.
"""

import contextvars
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Concatenate, ParamSpec, TypeVar

from reelmill.flows.jobs import retries, steps
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.extract.missing import Todo
from reelmill.pipeline.extract.videos import ExtractSummary

P = ParamSpec("P")
R = TypeVar("R")
Block = tuple[int, list[Todo]]
"""Number of a block, and its videos with what is missing of each."""


class Executor:
    """Executes steps in this process, one after another; a step that fails transiently is tried again."""

    def job(
        self,
        job: "Callable[Concatenate[Settings, Executor, P], R]",
        settings: Settings,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """A job that another job consists of, such as `extract` in `run`."""
        return job(settings, self, *args, **kwargs)

    def step(self, step: Callable[..., R], *args: Any, name: str = "", retry: bool = True) -> R:
        """The result of `step(*args)`. `name`: what a server shows; `retry`: try again what may pass (`retries`)."""
        return retries.call(functools.partial(step, *args), time.sleep) if retry else step(*args)

    def side_by_side(
        self, step: Callable[..., R], calls: Sequence[tuple[Any, ...]], *, name: str, threads: int, stop: Event
    ) -> list[R]:
        """The results of `step(*call)` for each call, in order, computed by this number of threads. An error, or
        Ctrl-C, sets `stop`, which tells the steps that run to end, and is raised when they have."""
        with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
            futures = []
            for number, call in enumerate(calls):
                work = functools.partial(self.step, step, *call, name=f"{name}-{number}", retry=False)
                futures.append(pool.submit(contextvars.copy_context().run, work))
            try:
                return [future.result() for future in futures]
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def extract(self, settings: Settings, blocks: Sequence[Block], pictures: set[str]) -> list[ExtractSummary]:
        """The summary of each block of videos that was extracted. `pictures`: videos whose key frames are stored."""
        return [
            self.step(steps.extract_block, settings, todo, pictures, name=f"extract-{number}")
            for number, todo in blocks
        ]


IN_THIS_PROCESS = Executor()
