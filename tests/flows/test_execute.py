"""Without a server a command does its job in this process, and nothing of Prefect is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reelmill.flows.cli.execute import execute
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from tests.sounds import write_sound


def loaded(file: Path, *arguments: str | Path, **environment: str) -> set[str]:
    """Top-level modules of a process that ran a verb."""
    code = (
        "import atexit, json, sys\n"
        f"atexit.register(lambda: json.dump(sorted(sys.modules), open({str(file)!r}, 'w')))\n"
        "from reelmill.flows.cli.main import main; main()"
    )
    environment = {**{k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}, **environment}
    command = [sys.executable, "-c", code, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    return {name.partition(".")[0] for name in json.loads(file.read_text())}


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Settings of a folder with one video, whose sound is extracted."""
    (tmp_path / "videos").mkdir()
    write_sound(tmp_path / "videos" / "one.mkv")
    chosen = {
        "root": "root",
        "source": {"path": "videos", "format": "folder"},
        "extract": {"extractors": {"logmel": {}}},
        "train": {"models": {"transgrec": {"stores": "logmel"}}},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(chosen))
    return tmp_path / "settings.yaml"


def test_one_off_commands_import_no_prefect(tmp_path: Path, settings_file: Path) -> None:
    for verb in ("ingest", "extract", "run"):  # work, and in the end a report
        modules = loaded(tmp_path / "modules.json", verb, settings_file)
        assert "reelmill" in modules
        assert not {"prefect", "ray"} & modules, verb


def test_a_job_is_executed_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def job(settings: Settings, executor: Executor, what: str) -> tuple[str, Executor, str]:
        return settings.root, executor, what

    assert execute(job, load(None, ["root=/r"]), "this") == ("/r", IN_THIS_PROCESS, "this")
