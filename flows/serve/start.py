"""Start a job as a flow run, with the executor that its settings ask for."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from reelmill.flows.jobs.executor import Executor
from reelmill.flows.serve.flow_runs import FlowRuns
from reelmill.flows.serve.ray_cluster import RayCluster
from reelmill.flows.settings.sections import Settings

P = ParamSpec("P")
R = TypeVar("R")


def executor_for(settings: Settings) -> Executor:
    """Prefect tasks in this process, or on the Ray cluster that the settings name."""
    if settings.engine.runner == "ray":
        return RayCluster()
    return FlowRuns()


def flow_run(
    job: Callable[Concatenate[Settings, Executor, P], R], settings: Settings, *args: P.args, **kwargs: P.kwargs
) -> R:
    """What the job returns, executed as a flow run on the server at PREFECT_API_URL; where that is not set, on a small
    one that Prefect starts for the run."""
    return executor_for(settings).job(job, settings, *args, **kwargs)
