"""What can be told of deployments, retries and engines without a server."""

import errno
import sys
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.events.schemas.automations import Automation

from reelmill.flows.jobs import retries, steps
from reelmill.flows.jobs.backfill import backfill
from reelmill.flows.jobs.check import check
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.run import run
from reelmill.flows.jobs.train import train
from reelmill.flows.serve import deployments as serve
from reelmill.flows.settings.load import load
from reelmill.pipeline import errors
from reelmill.storage.errors import InputError


def of_status(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (OSError(errno.ETIMEDOUT, "stalled"), True),
        (OSError(errno.ESTALE, "stale handle"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (errors.Network("reset"), True),
        (of_status(503), True),
        (of_status(429), True),
        (of_status(404), False),
        (errors.Removed("gone"), False),
        (OSError(errno.ENOSPC, "full"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (OSError(errno.EIO, "a bad sector"), False),
        (InputError("a rule"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, may: bool) -> None:
    assert retries.is_transient(error) is may


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"root={tmp_path / 'mill'}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["serve.schedules={run: every night}"],
            "serve.schedules.run 'every night' in serve.timezone 'UTC': Invalid cron",
        ),
        (["serve.timezone=Mars/Olympus"], "in serve.timezone 'Mars/Olympus': Invalid timezone"),
        (["serve.schedules={trian: 0 2 * * *}"], "'trian' is not deployed; did you mean 'train'"),
    ],
)
def test_a_schedule_that_is_none_is_refused(root: str, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        serve.register(load(None, [root, *overrides]), Path("/s.yaml"), [])


def test_without_a_server_serve_says_how_to_start_one(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"PREFECT_API_URL is not set.*prefect server start"):
        serve.register(load(None, [root]), Path("/s.yaml"), [])


def test_an_automation_that_is_right_is_known_as_such() -> None:
    """As the server gives it back: with an id of its own, its sets in another order."""
    for wanted, known in zip(serve.watchdogs(), serve.watchdogs(), strict=True):
        there = Automation.model_validate({**known.model_dump(mode="json"), "id": str(uuid4())})
        assert serve._same(there, wanted)
        for change in ({"enabled": False}, {"description": "of an older version"}, {"actions": []}):
            assert not serve._same(there.model_copy(update=change), wanted)


def test_a_login_does_not_go_to_the_server(root: str) -> None:
    settings = load(None, [root, "download.proxy=http://me:word@proxy:1"])
    with pytest.raises(InputError, match=r"holds a login, which the server .* write it into /s.yaml") as caught:
        serve.deployment("run", settings, Path("/s.yaml"), ["download.proxy=http://me:word@proxy:1"])
    assert "word" not in str(caught.value)
    assert "word" not in settings.model_dump_json()  # as Prefect keeps the parameters of flows


def test_a_deployment_is_of_one_root_and_takes_turns(root: str) -> None:
    chosen = ["serve.schedules={run: '0 3 * * *'}", "serve.tags=[night]", "serve.work_pool=mill"]
    made = serve.deployment("run", load(None, [root, *chosen]), Path("/s.yaml"), ["extract.block=8", *chosen])
    assert (made.full_name, made.entrypoint) == ("reelmill-run/mill", "reelmill.flows.serve.deployed.run")
    assert made.parameters == {"settings": "/s.yaml", "overrides": ["extract.block=8"]}
    assert set(made.tags) == {"reelmill", "night"}
    assert (made.concurrency_limit, made.concurrency_options.collision_strategy.value) == (1, "ENQUEUE")
    assert made.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    by_hand = serve.deployment("train", load(None, [root, *chosen]), Path("/s.yaml"), [])
    assert by_hand.schedules == []
    assert by_hand._parameter_openapi_schema.properties["models"]["anyOf"][0] == {
        "items": {"type": "string"},
        "type": "array",
    }


def test_parameters_of_deployments_are_those_of_the_jobs() -> None:
    jobs = {"run": run, "extract": extract, "train": train, "backfill": backfill}
    assert serve.FLOWS.keys() == jobs.keys()
    for verb, deployed in serve.FLOWS.items():
        assert deployed.name == f"reelmill-{verb}"
        given = signature(deployed.fn).parameters.keys() - {"settings", "overrides", "models"}
        assert given <= signature(jobs[verb]).parameters.keys(), verb


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["engine.gpus_per_task=1"], "engine.gpus_per_task is of Ray's: set engine.runner to ray"),
        (["engine.workers=2"], "engine.workers is of Ray's"),
        (
            ["engine={runner: ray, address: 'ray://head:10001', workers: 2}"],
            "engine.workers is for a cluster on this machine",
        ),
        (["engine={runner: ray, address: 'ray://head:10001'}"], "start one with `prefect server start --host 0.0.0.0`"),
    ],
)
def test_mistakes_about_the_engine_are_found_before_the_work(root: str, overrides: list[str], message: str) -> None:
    check(load(None, [root, "extract.extractors={c3d: {weights: random}}"]))
    with pytest.raises(InputError, match=message):
        check(load(None, [root, *overrides]))


def test_ray_that_is_not_installed_is_asked_for(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    with pytest.raises(InputError, match=r"pip install 'reelmill\[ray\]'"):
        check(load(None, [root, "engine.runner=ray"]))


def test_a_worker_refuses_to_write_into_a_store_that_nobody_planned(root: str, thin: None) -> None:
    chosen = ["extract={device: cpu, precision: float32, extractors: {c3d: {layers: [fc6], weights: random}}}"]
    settings = load(None, [root, *chosen])
    try:
        networks = steps.networks_of_process(settings)
        assert steps.networks_of_process(settings) is networks  # built once a process
        (spec,) = networks[0].specs(segment_ms=4000, decoder="other", rows="segment").values()
        planned: Any = [(None, {0: [spec]})]
        with pytest.raises(InputError, match=r"cannot write the store .* that was planned elsewhere"):
            steps.extract_block(settings, planned, set())
    finally:
        steps.release_networks()


def test_a_step_is_tried_again_while_its_failures_are_transient() -> None:
    """Without Prefect; with it see `test_serve`."""
    tries: list[str] = []

    def fails(*kinds: int) -> str:
        tries.append("try")
        if len(tries) <= len(kinds):
            raise OSError(kinds[len(tries) - 1], "no luck")
        return "done"

    for kinds, count, end in (
        ((), 1, None),
        ((errno.ETIMEDOUT,), 2, None),
        ((errno.ETIMEDOUT, errno.ESTALE), 3, None),
        ((errno.ETIMEDOUT,) * 3, 3, errno.ETIMEDOUT),
        ((errno.ETIMEDOUT, errno.ENOSPC), 2, errno.ENOSPC),
    ):
        tries.clear()
        pauses: list[float] = []
        if end is None:
            assert retries.call(lambda kinds=kinds: fails(*kinds), pauses.append) == "done"  # type: ignore[misc]
        else:
            with pytest.raises(OSError) as caught:  # noqa: PT011 (its number is looked at)
                retries.call(lambda kinds=kinds: fails(*kinds), pauses.append)  # type: ignore[misc]
            assert caught.value.errno == end
        assert len(tries) == count
        assert len(pauses) == count - 1
        for pause, least in zip(pauses, retries.PAUSES_S, strict=False):
            assert least <= pause <= least * (1 + retries.JITTER)
