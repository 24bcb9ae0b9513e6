"""What is installed: the wheel's names, the base without torch, extras that hold what their rooms import, the lock."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_namespace_packages

from reelmill.flows.cli.entry import extras_with
from tests.test_rooms import FILES, ROOMS, imports

HOUSE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCK = (HOUSE / "requirements.lock").read_text()
PUBLIC = {"extract", "text", "train", "serve", "ray", "s3", "torchcodec", "all"}

ROOM_NEEDS = {
    "storage/objects.py": {"s3"},
    "storage/cache.py": {"s3"},
    "storage/place.py": {"s3"},
    "storage/": set(),
    "extractors/text/": {"text"},
    "extractors/": {"extract"},
    "pipeline/decode/torchcodec.py": {"extract", "torchcodec"},
    "pipeline/": {"extract"},
    "models/": {"train"},
    "flows/cli/": {"cli"},
    "flows/settings/": {"cli"},
    "flows/serve/": {"serve", "ray"},
    "flows/jobs/": {"cli", "extract", "train", "serve"},
    "flows/": {"cli"},
}
"""The extras that a file may import from beside the base; the first line that fits counts."""


def requirements(extra: str | None) -> Iterator[Requirement]:
    """Those of an extra and of the extras that it takes in; None: those of the base."""
    for line in PROJECT["project"]["dependencies"] if extra is None else EXTRAS[extra]:
        if (requirement := Requirement(line)).name == "reelmill":
            for other in requirement.extras:
                yield from requirements(other)
        else:
            yield requirement


def names(*extras: str | None) -> set[str]:
    return {canonicalize_name(requirement.name) for extra in extras for requirement in requirements(extra)}


def foreign(file: str) -> Iterator[tuple[int, str, str]]:
    """(line, module, its distribution) of each import of a file that is neither ours nor Python's."""
    known = packages_distributions()
    for line, module in imports(file):
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("reelmill", "tests"):
            found = {canonicalize_name(name) for name in known[top]}
            yield line, top, next((name for name in found if name in names(None, *EXTRAS)), min(found))


def test_the_packages_are_the_folders() -> None:
    folders = {
        "reelmill." + ".".join(path.parent.relative_to(HOUSE).parts)
        for room in ROOMS
        for path in (HOUSE / room).rglob("__init__.py")
    }
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]
    listed = find_namespace_packages(HOUSE / found["where"][0], include=found["include"], exclude=found["exclude"])
    places = {name: HOUSE.joinpath(*name.split(".")[1:]) for name in listed}
    assert folders == {name for name, place in places.items() if any(place.glob("*.py"))}  # a branch left its caches
    assert {f"reelmill.{room}": room for room in ROOMS} == PROJECT["tool"]["setuptools"]["package-dir"]
    with_python = {path.parent for room in ROOMS for path in (HOUSE / room).rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in with_python)


def test_files_that_are_no_python_are_installed_too() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for room in ROOMS:
        for path in (HOUSE / room).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md"):
                assert any(path.match(pattern) for pattern in patterns), path


def test_extras_are_those_that_are_promised() -> None:
    assert PUBLIC | {"cli", "dev"} <= EXTRAS.keys()
    assert names("all") == names(*PUBLIC)
    assert not names(None) - {"numpy", "h5py", "pyarrow"}
    heavy = {"torch", "prefect", "decord", "gensim", "deno", "yt-dlp", "av", "ray", "s3fs"}
    assert heavy <= names("all")
    assert not heavy & names(None, "cli")
    assert not names("train", "s3") & {"prefect", "ray", "yt-dlp", "av", "decord", "gensim", "deno"}
    assert not names("serve") & {"torch", "av", "ray"}


def test_a_room_imports_what_its_extra_installs() -> None:
    wrong = []
    for file in FILES:
        extras = next(extras for start, extras in ROOM_NEEDS.items() if file.startswith(start))
        for line, module, distribution in foreign(file):
            if distribution not in names(None, *extras):
                wrong.append(f"{file}:{line}: {module}: {distribution} is not in {', '.join(sorted(extras)) or 'base'}")
    assert not wrong, "\n".join(wrong)


def test_tests_import_what_dev_installs() -> None:
    rivals = HOUSE / "tests" / "benchmarks" / "_rivals.py"  # libraries to compare with, each in a folder of its own
    for path in (HOUSE / "tests").rglob("*.py"):
        if path != rivals:
            for line, module, distribution in foreign(path.relative_to(HOUSE).as_posix()):
                assert distribution in names(None, "dev"), f"{path}:{line}: {module}"


def test_nothing_is_installed_for_nobody() -> None:
    """What no file imports stands here with the reason."""
    programs = {"deno", "yt-dlp-ejs", "brotli", "pycryptodomex", "mutagen"}  # used by yt-dlp
    pins = {"fastapi", "sqlalchemy"}  # bounds for Prefect
    drivers = {"s3fs", "tensorboard"}  # loaded by fsspec and by torch under their names
    used = {distribution for file in FILES for _, _, distribution in foreign(file)}
    assert names(None, "all") - used == programs | pins | drivers


def test_whoever_lacks_a_module_is_told_which_extra_has_it() -> None:
    asked = {(module, distribution) for file in FILES for _, module, distribution in foreign(file)}
    for module, distribution in asked:
        if distribution not in names(None):
            assert extras_with(f"{module}.inside"), module
            assert all(distribution in names(extra) for extra in extras_with(module))
    assert extras_with("prefect_ray") == ["ray"]
    assert extras_with("numpy") == []
    assert extras_with("nobody_has_this") == []


def test_the_lock_satisfies_the_project() -> None:
    pinned: dict[str, list[str]] = {}
    for line in LOCK.splitlines():
        found = re.fullmatch(r"([a-z0-9-]+)==([\w.!+]+)( ; .+)?", line)
        assert found, f"no plain pin: {line}"  # no address of a registry or file either
        pinned.setdefault(found[1], []).append(found[2])
    for requirement in requirements("dev"):
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement
    assert set(pinned) >= names(None, *EXTRAS)


@pytest.mark.parametrize("extra", [None, *sorted(EXTRAS)])
def test_exact_versions_are_the_measured_conflicts(extra: str | None) -> None:
    exact = {r.name for r in requirements(extra) if any(s.operator == "==" for s in r.specifier)}
    assert exact <= {"prefect", "yt-dlp", "yt-dlp-ejs"}
