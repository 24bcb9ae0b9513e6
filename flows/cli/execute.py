"""How the command line executes a job: in this process, or as a Prefect flow run where a server or Ray is asked for."""

import os
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.settings.sections import Settings

P = ParamSpec("P")
R = TypeVar("R")


def execute(
    job: Callable[Concatenate[Settings, Executor, P], R], settings: Settings, *args: P.args, **kwargs: P.kwargs
) -> R:
    """What the job returns. Where PREFECT_API_URL is set, or `engine.runner` is ray, it is a flow run; else nothing of
    Prefect is imported."""
    if os.environ.get("PREFECT_API_URL") or settings.engine.runner == "ray":
        from reelmill.flows.serve.start import flow_run

        return flow_run(job, settings, *args, **kwargs)
    return job(settings, IN_THIS_PROCESS, *args, **kwargs)
