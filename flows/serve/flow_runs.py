"""A job as a Prefect flow run: its steps are tasks, jobs inside of it are flow runs of their own."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Flow, flow, task
from prefect.cache_policies import NO_CACHE

from reelmill.flows.jobs import retries
from reelmill.flows.jobs.executor import Executor
from reelmill.flows.settings.sections import Settings

P = ParamSpec("P")
R = TypeVar("R")


def _is_transient(task: Any, task_run: Any, state: Any) -> bool:
    """What Prefect asks of a task that failed."""
    error = state.data if isinstance(state.data, BaseException) else state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and retries.is_transient(error)


RETRIES: dict[str, Any] = {
    "retries": len(retries.PAUSES_S),
    "retry_delay_seconds": list(retries.PAUSES_S),
    "retry_jitter_factor": retries.JITTER,
    "retry_condition_fn": _is_transient,
}
"""Options of a task that is tried again."""


class FlowRuns(Executor):
    """Executes each step as a Prefect task, and each job inside of a job as a flow."""

    def job(
        self,
        job: Callable[Concatenate[Settings, Executor, P], R],
        settings: Settings,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        return as_flow(job, self, *args, **kwargs)(settings)

    def step(self, step: Callable[..., R], *args: Any, name: str = "", retry: bool = True) -> R:
        options: dict[str, Any] = {"name": step.__name__, "task_run_name": name or None, "cache_policy": NO_CACHE}
        return task(**options, **(RETRIES if retry else {}))(step)(*args)


def as_flow(
    job: Callable[Concatenate[Settings, Executor, P], R], executor: Executor, *args: P.args, **kwargs: P.kwargs
) -> Flow[[Settings], R]:
    """A job as a flow of settings; the server gets to know these alone, not what else the job is given."""

    @flow(name=job.__name__, description=job.__doc__, validate_parameters=False)
    def run(settings: Settings) -> R:
        return job(settings, executor, *args, **kwargs)

    return run
