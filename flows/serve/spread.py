"""Blocks of videos, handed out: one after another in this process, or by Ray to the workers of its cluster.

Nothing here schedules. Ray gives each block to one worker, counts GPUs, and gives a block whose worker died to another.
"""

import os
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import as_completed
from prefect.settings import get_current_settings

from reelmill.flows import OFFLINE
from reelmill.flows.jobs import steps
from reelmill.flows.progress import current
from reelmill.flows.serve.retries import RETRIES
from reelmill.flows.settings.sections import EngineSettings, Settings
from reelmill.pipeline.extract.videos import ExtractSummary, Todo
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.extractors.core.base import Extractor

_built: dict[str, "list[Extractor]"] = {}
"""The networks of this worker process, by the settings that asked for them; one set at a time."""


@task(task_run_name="extract-{number}", cache_policy=NO_CACHE, **RETRIES)
def extract_block(
    number: int, settings: Settings, todo: list[Todo], networks: "list[Extractor] | None", pictures: set[str]
) -> ExtractSummary:
    """One block of videos through every network; `networks` None: those of this process, built for its first block."""
    chosen = _of_this_process(settings, todo) if networks is None else networks
    return steps.extract_block(settings, todo, chosen, pictures)


def extracted(
    settings: Settings, todo: list[Todo], networks: "list[Extractor]", in_order: bool = False
) -> list[ExtractSummary]:
    """Extract what is to do in blocks, by the runner that the settings name; what each block came to.

    Blocks come in any order unless `in_order`: so several processes on one root seldom meet at the same block, and what
    one of them has done the others leave out.
    """
    size = settings.extract.block
    blocks = [todo[i : i + size] for i in range(0, len(todo), size)]
    numbers = list(range(len(blocks)))
    if not in_order:
        random.shuffle(numbers)
    pictures = steps.have_pictures(settings)
    if settings.engine.runner == "ray" and blocks:
        options = {"task_runner": ray_runner(settings.engine), "flow_run_name": "extract on ray"}
        return _handed_out.with_options(**options)(settings, [blocks[number] for number in numbers], pictures)
    return [extract_block(number, settings, blocks[number], networks, pictures) for number in numbers]


def check_engine(engine: EngineSettings) -> None:
    """Raise InputError for what can be known before Ray is started."""
    if engine.runner != "ray":
        used = [key for key in ("address", "workers", "gpus_per_task") if getattr(engine, key)]
        if used:
            raise InputError(f"engine.{used[0]} is of Ray's: set engine.runner to ray, or remove it")
        return
    try:
        import prefect_ray  # noqa: F401
        import ray  # noqa: F401
    except ImportError:
        raise InputError(
            "engine.runner ray needs packages that are not installed: `pip install 'reelmill[ray]'`"
        ) from None
    if engine.address and engine.workers:
        raise InputError(
            "engine.workers is for a cluster on this machine; that at engine.address has its own: remove one"
        )
    if engine.address and not get_current_settings().api.url:
        raise InputError(
            "engine.address: workers on other machines report to a server that they can reach; "
            "start one with `prefect server start --host 0.0.0.0` and set PREFECT_API_URL"
        )


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


@flow(name="extract-on-ray", validate_parameters=False)
def _handed_out(settings: Settings, blocks: list[list[Todo]], pictures: set[str]) -> list[ExtractSummary]:
    """Every block as a task of Ray's. A block that fails does not keep others from being done; its error comes last."""
    from prefect_ray.context import remote_options

    engine = settings.engine
    _fits(engine)
    with remote_options(num_cpus=engine.cpus_per_task, num_gpus=engine.gpus_per_task):
        futures = {
            extract_block.submit(
                number, settings, block, None, pictures & {video.video_id for video, _ in block}
            ): block
            for number, block in enumerate(blocks)
        }
    done, errors = [], []
    for future in as_completed(list(futures)):
        try:
            done.append(future.result())
        except Exception as error:
            errors.append(error)
        block = futures[future]
        current().advance("extract", sum(video.duration_ms for video, _ in block) / 1000, items=len(block))
    if errors:
        raise errors[0]
    return done


def _fits(engine: EngineSettings) -> None:
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


def _of_this_process(settings: Settings, todo: Sequence[Todo]) -> "list[Extractor]":
    """Networks that stay for the next block. Raises InputError if this machine's would write into other stores than the
    one that planned the work: arithmetic may differ between machines."""
    key = settings.extract.model_dump_json()
    if key not in _built:
        _built.clear()
        _built[key] = steps.extractors(settings)
    wanted = {spec.name for _, lacking in todo for specs in lacking.values() for spec in specs}
    if strange := sorted(wanted - set(steps.spec_names(settings, _built[key]))):
        raise InputError(
            f"a worker cannot write the store {strange[0]} that was planned elsewhere; give all machines the same "
            "versions, and set extract.device and extract.precision to what all of them have"
        )
    return _built[key]
