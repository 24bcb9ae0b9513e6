"""What is installed: the wheel's names, the base without torch, extras that hold what their rooms import, the lock."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_namespace_packages

from reelmill.flows.cli.entry import extras_with
from reelmill.storage import Tables
from tests.stores import block, fill
from tests.test_rooms import FILES, ROOMS, imports, modules

HOUSE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCK = (HOUSE / "requirements.lock").read_text()
INSTALLED = packages_distributions()
PUBLIC = {"extract", "text", "train", "serve", "ray", "s3", "sql", "torchcodec", "all"}

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
    "flows/jobs/sql.py": {"sql"},
    "flows/jobs/": {"cli", "extract", "train"},
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


@cache
def names(*extras: str | None) -> set[str]:
    return {canonicalize_name(requirement.name) for extra in extras for requirement in requirements(extra)}


def foreign(file: str) -> Iterator[tuple[int, str, str]]:
    """(line, module, its distribution) of each import of a file that is neither ours nor Python's."""
    for line, module in imports(file):
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("reelmill", "tests"):
            found = {canonicalize_name(name) for name in INSTALLED[top]}
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
    assert not heavy & names(None)
    assert heavy & names("cli") == {"av"}
    assert not names("train", "s3") & {"prefect", "ray", "yt-dlp", "decord", "gensim", "deno"}
    assert not names("serve") & {"torch", "ray"}


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


# --- with nothing else installed: other packages are hidden from a process ---

HIDE = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden!r} else found(name, path, target)
PathFinder.find_spec = find_spec
"""


def installed_with(names: set[str]) -> set[str]:
    """These distributions and all that they need, by what is installed here."""
    known, todo = set(), [(name, "") for name in names]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in known:
            continue
        known.add((name, extra))
        for line in requires(name) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(need.name), inside) for inside in ("", *need.extras)]
    return {name for name, _ in known}


def alone(*extras: str, code: str, cwd: Path, arguments: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run code where only the base and these extras are installed."""
    kept = installed_with(names(None, *extras))
    hidden = {
        module
        for module, distributions in INSTALLED.items()
        if not kept & {canonicalize_name(name) for name in (*distributions, module)} and module != "reelmill"
    }
    command = [sys.executable, "-c", HIDE.format(hidden=hidden) + code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=250, check=False)


COMMAND = "from reelmill.flows.cli.entry import main; main()"
READ = """
import importlib.util, sys
from reelmill.storage import Tables, open_store
store = open_store(sys.argv[1], "c3d")
block = store.read("a")
assert block.features.shape == (4, store.spec.dim) and block.mask.shape == (4,)
assert store.view([("a", 2)])[0].tolist() == block.features[2].tolist()
assert Tables(sys.argv[1]).read("labels").num_rows == 1
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a block, and a table."""
    root = tmp_path_factory.mktemp("root")
    fill(root, [block("a", 4)])
    Tables(root).write("labels", [{"user_id": "u", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
    return root


@pytest.fixture
def other_project(tmp_path: Path) -> Path:
    """A training project whose modules have the names of our rooms."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("OURS = False\n")
    (tmp_path / "storage.py").write_text("OURS = False\n")
    return tmp_path


def test_the_base_reads_stores_and_tables_in_any_project(root: Path, other_project: Path) -> None:
    code = READ + "import models, storage\nassert not models.OURS and not storage.OURS"
    ended = alone(code=code, cwd=other_project, arguments=(str(root),))
    assert ended.returncode == 0, ended.stderr


def test_the_base_says_which_extra_to_install(tmp_path: Path) -> None:
    ended = alone(code=COMMAND, cwd=tmp_path, arguments=("status",))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"error: \w+ is not installed: pip install 'reelmill\[all\]'.*\n", ended.stderr)
    code = "from reelmill.storage import Tables\nTables('s3://bucket/root')"
    assert "pip install 'reelmill[s3]'" in alone(code=code, cwd=tmp_path).stderr


def test_sql_says_which_extra_to_install(root: Path, tmp_path: Path) -> None:
    ended = alone("cli", code=COMMAND, cwd=tmp_path, arguments=("sql", "select 1", "--root", str(root)))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: duckdb is not installed: pip install 'reelmill[sql]'\n"


@pytest.mark.slow
def test_each_room_is_imported_with_its_extra_alone(tmp_path: Path) -> None:
    starts = {
        "storage": (), "extractors.text": ("text",), "extractors": ("extract",), "pipeline": ("extract",),
        "models": ("train",), "flows.cli": ("cli",), "flows.settings": ("cli",),
    }  # fmt: skip
    optional = {"reelmill.pipeline.decode.torchcodec"}
    rooms: dict[tuple[str, ...], list[str]] = {}
    for module in modules():
        extras = next((e for start, e in starts.items() if f"{module}.".startswith(f"reelmill.{start}.")), None)
        if extras is not None and module not in optional:
            rooms.setdefault(extras, []).append(module)
    for extras, found in rooms.items():
        code = f"import importlib\nfor name in {found}: importlib.import_module(name)"
        ended = alone(*extras, code=code, cwd=tmp_path)
        assert ended.returncode == 0, f"{extras}: {ended.stderr[-2000:]}"


def test_verbs_run_with_their_extra_alone(root: Path, tmp_path: Path) -> None:
    ran = {
        ("cli",): [("--help",), ("settings",), ("status", "--root", str(root)), ("verify", "--root", str(root))],
        ("sql",): [("sql", "select count(*) from labels", "--root", str(root))],
        ("train",): [("train", "bpr", "--world", "users=40,items=20", "--root", str(tmp_path / "w"), "-o", "epochs=1")],
    }
    for extras, commands in ran.items():
        for arguments in commands:
            ended = alone(*extras, code=COMMAND, cwd=tmp_path, arguments=arguments)
            assert ended.returncode == 0, f"{arguments}: {ended.stderr[-2000:]}"


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git tracks, by way of a source distribution: it must hold all that a wheel is made of."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (HOUSE / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOUSE / name, folder / name, follow_symlinks=False)
    uv("build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, folder)
    (made,) = folder.glob("*.whl")
    return made


def uv(*arguments: str | Path) -> str:
    """What uv, which sets the environment up, answers."""
    command = [str(Path(sys.executable).parent / "uv"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_wheel_has_one_name_and_all_files(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in inside} == {"reelmill"}
    assert inside >= {f"reelmill/{file}" for file in FILES}
    assert "reelmill/models/report/page.html" in inside
    assert not [name for name in inside if name.endswith(".pyc")]


@pytest.mark.slow
def test_a_base_install_reads_a_store_without_torch(wheel: Path, root: Path, other_project: Path) -> None:
    python = other_project / "env" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, other_project / "env")
    uv("pip", "install", "--quiet", "--python", python, "--constraint", HOUSE / "requirements.lock", wheel)
    listed = {line.split("==")[0] for line in uv("pip", "freeze", "--python", python).splitlines()}
    assert {"numpy", "h5py", "pyarrow"} <= listed
    assert not listed & {"torch", "prefect", "decord", "gensim", "deno", "typer"}
    code = READ + "import models, storage\nassert not models.OURS and importlib.util.find_spec('torch') is None"
    subprocess.run([python, "-c", code, root], cwd=other_project, check=True, timeout=60)
    script = subprocess.run([python.parent / "reelmill"], capture_output=True, text=True, timeout=60, check=False)
    assert (script.returncode, script.stderr.count("\n")) == (1, 1)
    assert "pip install 'reelmill[all]'" in script.stderr


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_each_extra_resolves(wheel: Path, extra: str) -> None:
    """Without the lock, as for a project that installs us among other things."""
    wanted = wheel.with_name(f"{extra}.in")
    wanted.write_text(f"reelmill[{extra}] @ {wheel.as_uri()}\n")
    found = uv("pip", "compile", "--quiet", "--python", sys.executable, "--no-annotate", wanted)
    resolved = {canonicalize_name(line.split("==")[0].split(" @")[0]) for line in found.splitlines() if line[0] != "#"}
    assert names(None, extra) <= resolved
