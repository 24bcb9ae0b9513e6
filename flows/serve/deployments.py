"""Deployments on a Prefect server: who may run what when, and what happens to runs whose worker died."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from reelmill.flows.jobs import steps
from reelmill.flows.serve.deployed import FLOWS
from reelmill.flows.settings.sections import Settings
from reelmill.flows.settings.values import LOGIN
from reelmill.storage.errors import InputError, nearest

TAG = "reelmill"
"""Every deployment and run has it."""
HEARTBEAT_S = 30
"""Seconds between signs of life of a run, the least that Prefect allows."""
MISSED = 3
"""Signs of life that may stay away before a run counts as dead."""
LONGEST = timedelta(days=30)
"""No run takes longer."""
ALIVE = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}}
"""What a worker adds to the environment of a run."""
BEGIN_A_SERVER = (
    "start one with `prefect server start`, then `export PREFECT_API_URL=http://127.0.0.1:4200/api`; "
    "without a server `reelmill run` does the same work at once"
)


def server_url() -> str:
    """The server's address. Raises InputError if none is set or it does not answer."""
    url = get_current_settings().api.url
    if not url:
        raise InputError(f"PREFECT_API_URL is not set, so there is no server to serve: {BEGIN_A_SERVER}")
    with get_client(sync_client=True) as client:
        fault = client.api_healthcheck()
    if fault is not None:
        raise InputError(f"no Prefect server answers at PREFECT_API_URL={url} ({fault}); {BEGIN_A_SERVER}")
    return url


@dataclass(frozen=True)
class Deployed:
    """A deployment on the server."""

    deployment: str
    """Its whole name."""
    schedule: str | None
    """Cron; None: it is started by hand."""
    timezone: str


@dataclass(frozen=True)
class ServeResult:
    """What was registered."""

    server: str
    root: str
    work_pool: str | None
    deployments: list[Deployed]
    automations: list[str]


def register(settings: Settings, file: Path, overrides: Sequence[str]) -> tuple[list[RunnerDeployment], ServeResult]:
    """Register the deployments of one root and the automations on the server; return them, and what to print.

    `file`: the settings file, by its absolute path also on workers. Raises InputError for a schedule that is none, a
    name that another settings file has, and overrides that hold a password.
    """
    chosen = settings.serve
    for verb in chosen.schedules:
        if verb not in FLOWS:
            raise InputError(f"serve.schedules: {verb!r} is not deployed; {nearest(verb, list(FLOWS))}")
    deployments = [deployment(verb, settings, file, overrides) for verb in FLOWS]
    url = server_url()
    with get_client(sync_client=True) as client:
        for made in deployments:
            _unlike_others(client, made)
        if chosen.work_pool is not None:
            _pool(client, chosen.work_pool)
        automations = [_automate(client, automation) for automation in watchdogs()]
    rows = []
    for verb, made in zip(FLOWS, deployments, strict=True):
        made.apply()
        rows.append(Deployed(made.full_name, chosen.schedules.get(verb), chosen.timezone))
    return deployments, ServeResult(url, steps.root_of(settings).address, chosen.work_pool, rows, automations)


def deployment(verb: str, settings: Settings, file: Path, overrides: Sequence[str]) -> RunnerDeployment:
    """The deployment of a verb, not registered yet."""
    chosen = settings.serve
    for override in overrides:
        key, _, value = override.partition("=")
        if LOGIN.search(value):
            raise InputError(f"--set {key}=… holds a login, which the server would show; write it into {file}")
    cron = chosen.schedules.get(verb)
    try:
        schedules = [Cron(cron, timezone=chosen.timezone)] if cron else []
        made = FLOWS[verb].to_deployment(
            name=chosen.name or steps.root_of(settings).name,
            schedules=schedules,
            concurrency_limit=ConcurrencyLimitConfig(
                limit=chosen.concurrency, collision_strategy=ConcurrencyLimitStrategy(chosen.collision.upper())
            ),
            parameters={"settings": str(file), "overrides": [o for o in overrides if not o.startswith("serve.")]},
            description=(FLOWS[verb].fn.__doc__ or "").strip(),
            tags=[TAG, *chosen.tags],
            work_pool_name=chosen.work_pool,
            job_variables=ALIVE if chosen.work_pool else {},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except ValueError as error:
        where = f"serve.schedules.{verb} {cron!r} in serve.timezone {chosen.timezone!r}"
        raise InputError(f"{where}: {_rule(error)}") from None
    assert isinstance(made, RunnerDeployment)  # a coroutine only where a loop runs
    return made


def watchdogs() -> list[AutomationCore]:
    """A run that shows no sign of life any more is marked as crashed; one that crashed is begun again.

    The second takes deployed runs only: others have nobody who would begin them.
    """
    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Partial", "Failed", "Cancelled", "Crashed")}
    dead = AutomationCore(
        name="reelmill: no sign of life",
        description=f"A run whose worker was killed: {MISSED} heartbeats have not come.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_ours(),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED * HEARTBEAT_S),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No sign of life: its worker was killed.")],
    )
    again = AutomationCore(
        name="reelmill: begin again",
        description="A deployed run that crashed waits for the next free worker; what is stored is not done twice.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},  # it had begun: where a run cannot begin, it would for ever try
            expect={"prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_ours(),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=LONGEST,
        ),
        actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="Its worker died.")],
    )
    return [dead, again]


def serve(deployments: Sequence[RunnerDeployment]) -> None:
    """Do the runs of these deployments in processes of their own until Ctrl-C or a signal to end."""
    from prefect.exceptions import TerminationSignal

    runner = Runner(heartbeat_seconds=HEARTBEAT_S, limit=None)
    for made in deployments:
        runner.add_deployment(made)
    try:
        asyncio.run(runner.start())
    except TerminationSignal:
        raise KeyboardInterrupt from None
    finally:
        shutil.rmtree(runner._tmp_dir, ignore_errors=True)  # which Prefect removes only where no signal ends it


def _ours() -> Any:
    return {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}


def _pool(client: SyncPrefectClient, name: str) -> None:
    """Make a work pool of processes, unless there is one of this name."""
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        kind = client.read_work_pool(name).type
        if kind != "process":
            raise InputError(
                f"serve.work_pool {name!r} is of type {kind}; give one of type process, or a new name"
            ) from None


def _automate(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Have this automation on the server. One that is right is left alone: an update makes the server forget which runs
    it waits for, so that a run whose worker died just before would stay RUNNING for ever."""
    known = client.read_automations_by_name(wanted.name)
    if not known:
        client.create_automation(wanted)
    elif not _same(known[0], wanted):
        client.update_automation(known[0].id, wanted)
    return wanted.name


def _same(one: AutomationCore, other: AutomationCore) -> bool:
    """Whether two automations do the same. Every trigger has an id of its own, by which the server remembers."""
    first, second = (
        automation.model_dump(include=set(AutomationCore.model_fields), exclude={"trigger": {"id"}})
        for automation in (one, other)
    )
    return first == second


def _unlike_others(client: SyncPrefectClient, made: RunnerDeployment) -> None:
    """Two roots with one name would take turns in replacing each other."""
    try:
        there = client.read_deployment_by_name(made.full_name)
    except ObjectNotFound:
        return
    if there.parameters.get("settings") != made.parameters["settings"]:
        raise InputError(
            f"deployment {made.full_name!r} is that of {there.parameters.get('settings')}; give this one another "
            f"serve.name, or remove the old one: `prefect deployment delete {made.full_name}`"
        )


def _rule(error: ValueError) -> str:
    """What is wrong; of an error of pydantic's all that is wrong, without its frame."""
    problems = getattr(error, "errors", None)
    if problems is None:
        return str(error)
    return "; ".join(problem["msg"].removeprefix("Value error, ") for problem in problems())
