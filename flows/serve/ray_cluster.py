"""Blocks of videos as tasks on a Ray cluster, by Prefect's task runner for Ray.

Nothing here schedules. Ray gives each block to one worker, counts GPUs, and gives a block whose worker died to another.
"""

import os
from collections.abc import Sequence
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import as_completed

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check_engine
from reelmill.flows.jobs.executor import Block
from reelmill.flows.progress import current
from reelmill.flows.serve import OFFLINE
from reelmill.flows.serve.flow_runs import RETRIES, FlowRuns
from reelmill.flows.settings.sections import EngineSettings, Settings
from reelmill.pipeline.extract.videos import ExtractSummary
from reelmill.storage.errors import InputError

extract_block = task(cache_policy=NO_CACHE, **RETRIES)(steps.extract_block)


class RayCluster(FlowRuns):
    """Executes the blocks of `extract` on Ray's workers, everything else in this process."""

    def extract(self, settings: Settings, blocks: Sequence[Block], pictures: set[str]) -> list[ExtractSummary]:
        if not blocks:
            return []
        runner = ray_runner(settings.engine)
        on_ray = flow(
            name="extract-on-ray", flow_run_name="extract on ray", validate_parameters=False, task_runner=runner
        )(_extract)
        return on_ray(settings, blocks, pictures)


def ray_runner(engine: EngineSettings) -> Any:
    """Prefect's task runner on Ray: the cluster at the address, or one on this machine for as long as the flow runs."""
    check_engine(engine)
    from prefect_ray import RayTaskRunner

    with get_client(sync_client=True) as client:
        server = str(client.api_url)
    kept = {name: os.environ[name] for name in OFFLINE}
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": {**kept, "PREFECT_API_URL": server}},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if engine.address is None:
        cpus = {"num_cpus": engine.workers * engine.cpus_per_task} if engine.workers else {}
        options |= {"include_dashboard": False, **cpus}
    return RayTaskRunner(address=engine.address, init_kwargs=options)


def _extract(settings: Settings, blocks: Sequence[Block], pictures: set[str]) -> list[ExtractSummary]:
    """Every block as a task. A block that fails does not keep others from being done; its error is raised at the
    end."""
    from prefect_ray.context import remote_options

    engine = settings.engine
    _check_resources(engine)
    with remote_options(num_cpus=engine.cpus_per_task, num_gpus=engine.gpus_per_task):
        futures = {
            extract_block.with_options(task_run_name=f"extract-{number}").submit(
                settings, todo, pictures & {video.video_id for video, _ in todo}
            ): todo
            for number, todo in blocks
        }
    done, errors = [], []
    for future in as_completed(list(futures)):
        try:
            done.append(future.result())
        except Exception as error:
            errors.append(error)
        todo = futures[future]
        current().advance("extract", sum(video.duration_ms for video, _ in todo) / 1000, items=len(todo))
    if errors:
        raise errors[0]
    return done


def _check_resources(engine: EngineSettings) -> None:
    """Raise InputError if no machine of the cluster can take one task: it would wait for ever."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": engine.cpus_per_task, "GPU": engine.gpus_per_task}
    if not any(all(machine.get(kind, 0) >= count for kind, count in wanted.items()) for machine in machines):
        has = ", ".join(f"{m.get('CPU', 0):.0f} CPUs and {m.get('GPU', 0):.0f} GPUs" for m in machines)
        raise InputError(
            f"engine.cpus_per_task {engine.cpus_per_task}, engine.gpus_per_task {engine.gpus_per_task}: no machine of "
            f"the cluster has so many ({has}); set them lower"
        )
