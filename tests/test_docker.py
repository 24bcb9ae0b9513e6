"""The containers, where no engine can build them: lint, rules, and the very commands that the image runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from reelmill.flows import interrupt

HOUSE = Path(__file__).parents[1]
DOCKER = HOUSE / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = sorted(COMPOSE["services"])
WITHOUT_A_MEANING = {"--no-cache", "--no-cache-dir", "--quiet", "--disable-pip-version-check"}


def instructions(word: str) -> list[str]:
    """What follows an instruction, one a line of the Dockerfile, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{word} (.*)$", joined, flags=re.MULTILINE)


def installs(commands: list[str]) -> list[list[str]]:
    """Those commands that make an environment, as words."""
    alone = [part for command in commands for part in command.split("&&")]
    split = [[word for word in shlex.split(command) if word not in WITHOUT_A_MEANING] for command in alone]
    return [words for words in split if "venv" in words or "install" in words]


def test_the_linter_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert linter is not None
    linted = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_installs_what_the_makefile_installs() -> None:
    recipe = re.search(r"^\$\(READY\):.*\n((?:\t.*\n)+)", (HOUSE / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe is not None
    lines = [line.lstrip("\t@").replace("$(PYTHON)", "python").replace("$(BIN)", ".venv/bin")
             for line in recipe[1].splitlines()]  # fmt: skip
    made = installs(lines)
    assert len(made) == 4
    assert installs(instructions("RUN")) == made


def test_targets_are_pinned_and_not_root() -> None:
    stages = {name: image for image, name in (stage.split(" AS ") for stage in instructions("FROM"))}
    assert {"cpu", "gpu"} <= set(stages)
    for image in stages.values():
        assert image in stages or re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+[\w.-]*", image), image
    for target in ("cpu", "gpu"):
        assert stages[target] == "base"
    base = DOCKERFILE.split(" AS base\n")[1]
    assert re.findall(r"^USER (.*)$", base, flags=re.MULTILINE) == ["1000"]
    assert not re.search(r"^(ENV|ARG) .*(PASSWORD|SECRET|TOKEN|KEY)", DOCKERFILE, flags=re.MULTILINE | re.IGNORECASE)


def test_the_javascript_runtime_is_in_the_lock() -> None:
    assert re.search(r"^deno==\d", (HOUSE / "requirements.lock").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_watched_and_not_root(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert str(service["user"]).split(":")[0] not in ("0", "root", "")
    assert int(service["stop_grace_period"].removesuffix("s")) > interrupt.COMMIT_S, "a commit is completed first"
    assert re.fullmatch(r"\d+g|\$\{\w+:-\d+g\}", service["mem_limit"])
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), "logs may fill the disk"
    if "build" in service:
        assert service["build"]["target"] in ("cpu", "gpu")
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")
    else:
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", tag), f"{service['image']} is not pinned"
    for key, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|ACCESS_KEY|ROOT_USER|DATABASE", key):
            assert re.search(r"\$\{\w+:\?", value) or key == "POSTGRES_DB", f"{key} is baked in"
    for other in service.get("depends_on", {}):
        assert other in SERVICES


def test_services_are_those_that_a_team_needs() -> None:
    assert SERVICES == ["database", "objects", "server", "worker", "worker-gpu"]
    assert COMPOSE["services"]["worker-gpu"]["profiles"] == ["gpu"]
    assert COMPOSE["services"]["worker-gpu"]["build"]["target"] == "gpu"
    assert "mill" in COMPOSE["services"]["worker"]["command"]


def test_the_example_of_an_environment_names_all_and_gives_none() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    rows = [line for line in (DOCKER / "env.example").read_text().splitlines() if not line.startswith("#")]
    assert {row.partition("=")[0] for row in rows} == asked
    assert all(row.endswith("=") for row in rows)
    assert "docker/.env" in (HOUSE / ".dockerignore").read_text()
    assert "/docker/.env" in (HOUSE / ".gitignore").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_commands_of_the_image_make_a_reelmill_that_works(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (HOUSE / name).is_symlink() or (HOUSE / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOUSE / name, tmp_path / name, follow_symlinks=False)  # as COPY does
    for words in installs(instructions("RUN")):
        command = [sys.executable, *words[1:]] if words[0] == "python" else words
        subprocess.run(command, cwd=tmp_path, check=True, timeout=1200)
    environment = {**os.environ, "PATH": f"{tmp_path}/.venv/bin:/usr/bin:/bin"}

    def said(*command: str) -> str:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    entry = re.search(r'^ENTRYPOINT \["(\w+)"\]', DOCKERFILE, flags=re.MULTILINE)
    assert entry is not None
    assert "serve" in said(f".venv/bin/{entry[1]}", "--help")
    assert said(".venv/bin/deno", "--version").startswith("deno ")
    assert said(".venv/bin/prefect", "version")
