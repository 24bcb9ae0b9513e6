"""Blocks of videos as tasks on a Ray cluster, by Prefect's task runner for Ray.

Nothing here schedules. Ray gives each block to one worker, counts GPUs, and gives a block whose worker died to another.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import CrashedRun
from prefect.futures import as_completed

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check_engine
from reelmill.flows.jobs.executor import Block
from reelmill.flows.progress import current
from reelmill.flows.serve import OFFLINE
from reelmill.flows.serve.flow_runs import RETRIES, FlowRuns
from reelmill.flows.settings.sections import EngineSettings, Settings
from reelmill.pipeline.extract.missing import Todo
from reelmill.pipeline.extract.videos import ExtractSummary
from reelmill.storage.errors import InputError, ReelmillError

CONNECT_S = 10.0
"""Longest time to wait for the head of a cluster to answer."""
RAY_PORT = 10001
TOKEN = (
    "check engine.address; a head that has a token (`ray get-auth-token` prints it there) takes only machines with the "
    "same: write it to ~/.ray/auth_token here, or set RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token"
)

extract_block = task(cache_policy=NO_CACHE, **RETRIES)(steps.extract_block)


class ClusterError(ReelmillError):
    """A Ray cluster cannot be reached, or lost work."""


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
    """Prefect's task runner on Ray: the cluster at the address, or one on this machine for as long as the flow runs.
    Entering it raises ClusterError if there is no connection."""
    check_engine(engine)
    from prefect_ray import RayTaskRunner

    class Connected(RayTaskRunner):
        def __enter__(self) -> Any:
            _check_address(engine.address)
            try:
                return super().__enter__()
            except Exception as error:
                raise ClusterError(f"no connection to {_cluster(engine.address)} ({_line(error)}); {TOKEN}") from error

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
    return Connected(address=engine.address, init_kwargs=options)


def _extract(settings: Settings, blocks: Sequence[Block], pictures: set[str]) -> list[ExtractSummary]:
    """Every block as a task."""
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
    return collected(as_completed(list(futures)), futures, engine)


def collected(
    completed: Iterable[Any], blocks: Mapping[Any, Sequence[Todo]], engine: EngineSettings
) -> list[ExtractSummary]:
    """The summaries of the blocks; progress counts the videos of those that ended well. `completed`: the futures, each
    as it ends. A block that fails does not keep others from being done: its error is raised at the end, ClusterError if
    the cluster lost it."""
    from ray.exceptions import RayError

    done: list[ExtractSummary] = []
    lost: list[Exception] = []
    errors: list[Exception] = []
    stored = 0
    for future in completed:
        todo = blocks[future]
        try:
            done.append(future.result())
        except Exception as error:
            cause = getattr(error, "cause", None) or error  # Ray wraps what a worker raised
            (lost if isinstance(cause, RayError | CrashedRun | ConnectionError) else errors).append(cause)
            continue
        stored += len(todo)
        current().advance("extract", sum(video.duration_ms for video, _ in todo) / 1000, items=len(todo))
    if errors:
        raise errors[0]
    if lost:
        videos = sum(map(len, blocks.values()))
        raise ClusterError(
            f"{_cluster(engine.address)} lost {len(lost):,} of {len(blocks):,} blocks, since a machine or a worker of "
            f"it died ({type(lost[0]).__name__}: {_line(lost[0])}); {stored:,} of {videos:,} videos are done and "
            "stored, run the same command for the others"
        )
    return done


def _check_address(address: str | None) -> None:
    """Raise ClusterError at once if nothing listens at `ray://host:port`: Ray itself asks for a minute."""
    parts = urlsplit(address or "")
    if parts.scheme == "ray" and parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or RAY_PORT), timeout=CONNECT_S).close()
        except OSError as error:
            raise ClusterError(
                f"nothing answers at engine.address {address} ({error}); start the head there with "
                "`ray start --head`, whose port for clients is 10001"
            ) from error


def _cluster(address: str | None) -> str:
    return f"the Ray cluster {address}" if address else "the Ray cluster of this machine"


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
