"""The rules of the house, read off the source: who may import whom, one door per dependency, sizes, docstrings."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
ROOMS = ("storage", "extractors", "pipeline", "models", "flows")
MAY_IMPORT = {
    "storage": {"storage"},
    "extractors": {"extractors", "storage"},
    "pipeline": {"pipeline", "extractors", "storage"},
    "models": {"models", "extractors", "storage"},
    "flows": set(ROOMS),
}
SHARED = {
    "models": ("core", "data", "metrics", "protocols"),
    "extractors": ("core", "weights"),
}
"""Folders of a room that its other folders share. These others, a recommender or a kind of extractor each, do not
import one another, and the shared ones import none of them."""
DOORS = {
    "prefect": ("flows/serve/",),
    "typer": ("flows/cli/",),
    "pydantic": ("flows/settings/",),
    "yaml": ("flows/settings/",),
    "torch": ("extractors/", "models/"),
    "torchvision": ("extractors/", "models/"),
    "pytorchvideo": ("extractors/", "models/"),
    "h5py": ("storage/",),
    "fsspec": ("storage/",),
    "upath": ("storage/",),
    "yt_dlp": ("pipeline/download/",),
    "av": ("pipeline/decode/",),
    "decord": ("pipeline/decode/",),
    "torchcodec": ("pipeline/decode/",),
    "librosa": ("extractors/",),
    "gensim": ("extractors/",),
    "pooch": ("extractors/weights/",),
}
FILE_LINES, FUNCTION_LINES = 320, 70
"""The plan says about 300 and about 60."""

FILES = sorted(path.relative_to(HOUSE).as_posix() for room in ROOMS for path in (HOUSE / room).rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((HOUSE / file).read_text(), file)


@cache
def modules() -> dict[str, str]:
    """{module: its file} of all rooms."""
    names = {file: "reelmill." + file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in FILES}
    return {name: file for file, name in names.items()}


def imports(file: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name of a module) of each import of a file, also in functions, under TYPE_CHECKING and by
    `import_module`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import; write the whole name"
            assert node.module
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name if name in modules() else node.module) for name in inside)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
                yield node.lineno, node.args[0].value


def test_the_house_stands() -> None:
    assert {file.split("/")[0] for file in FILES} == set(ROOMS)
    assert len(FILES) > 30
    assert {name.split(".")[0] for file in FILES for _, name in imports(file)} >= DOORS.keys(), "a door to nowhere"


def test_rooms_import_downwards() -> None:
    """By their whole names: `storage` and `models` are names that any project may have for itself."""
    wrong = []
    for file in FILES:
        room = file.split("/")[0]
        for line, name in imports(file):
            top, _, inside = name.partition(".")
            if top in {*ROOMS, "tests"} or (top == "reelmill" and inside.split(".")[0] not in MAY_IMPORT[room]):
                wrong.append(f"{file}:{line}: {room} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_siblings_do_not_import_each_other() -> None:
    wrong = []
    for room, shared in SHARED.items():
        folders = {path.name for path in (HOUSE / room).iterdir() if (path / "__init__.py").exists()}
        assert folders >= set(shared)
        for file in FILES:
            parts = file.split("/")
            if parts[0] != room or len(parts) < 3:
                continue
            for line, name in imports(file):
                _, other_room, *rest = [*name.split("."), "", ""]
                inside = other_room == room and rest[0] in folders - {parts[1], *shared}
                if inside or (other_room == room and parts[1] in shared and rest[0] not in shared):
                    wrong.append(f"{file}:{line}: {room}/{parts[1]} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_no_import_goes_in_a_circle() -> None:
    """Imports in functions and for types count as well: what needs them has two subjects."""
    graph = {name: {other for _, other in imports(file) if other in modules()} for name, file in modules().items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(name: str) -> None:  # Tarjan
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name] - {name}:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1:
                circles.append(" ↔ ".join(sorted(circle)))

    for name in graph:
        if name not in index:
            visit(name)
    assert not circles, "\n".join(circles)


def test_one_door_per_dependency() -> None:
    wrong = []
    for file in FILES:
        for line, name in imports(file):
            doors = DOORS.get(name.split(".")[0], ("",))
            if not file.startswith(doors):
                wrong.append(f"{file}:{line}: {name} belongs in {' and '.join(doors)}")
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short() -> None:
    wrong = []
    for file in FILES:
        if (lines := (HOUSE / file).read_text().count("\n")) > FILE_LINES:
            wrong.append(f"{file}: {lines} lines")
        for node in ast.walk(tree(file)):
            if isinstance(node, FUNCTION) and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
                wrong.append(f"{file}:{node.lineno}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def base_name(node: ast.expr) -> str:
    """`Protocol` of `typing.Protocol[T]`."""
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def documented_methods() -> tuple[dict[str, set[str]], set[str]]:
    """For each class the documented methods it has, inherited ones too; and those of all protocols, which a class can
    implement without naming the protocol."""
    classes = {node.name: node for file in FILES for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)}
    bases = {name: [base_name(base) for base in node.bases] for name, node in classes.items()}

    def of(name: str) -> set[str]:
        if name not in classes:
            return set()
        own = {m.name for m in classes[name].body if isinstance(m, FUNCTION) and ast.get_docstring(m)}
        return own.union(*(of(base) for base in bases[name]))

    documented = {name: of(name) for name in classes}
    return documented, set().union(*(documented[n] for n in classes if "Protocol" in bases[n]))


def test_everything_public_has_a_docstring() -> None:
    documented, protocols = documented_methods()
    wrong = []

    def check(body: list[ast.stmt], file: str, inherited: set[str]) -> None:
        for node in body:
            if not isinstance(node, (*FUNCTION, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and node.name not in inherited:
                wrong.append(f"{file}:{node.lineno}: {node.name}")
            if isinstance(node, ast.ClassDef):
                check(node.body, file, documented[node.name] | protocols)

    for file in FILES:
        if not ast.get_docstring(tree(file)):
            wrong.append(f"{file}:1: the module")
        check(tree(file).body, file, set())
    assert not wrong, "without a docstring:\n" + "\n".join(wrong)


@pytest.mark.parametrize("room", ["storage", "pipeline", "extractors.core.frames", "extractors.core.sound"])
def test_light_processes_stay_light(room: str) -> None:
    """Download and decoding processes import these: torch costs 5 s and 650 MB, Prefect 2 s."""
    names = [name for name in modules() if f"{name}.".startswith(f"reelmill.{room}.")]
    assert names
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'torchvision', 'prefect', 'pydantic', 'typer', 's3fs', 'upath'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_errors_are_light() -> None:
    """A process that only needs to say what went wrong does not pay for pyarrow and h5py."""
    code = "import reelmill.pipeline.errors, sys; assert not {'pyarrow', 'h5py', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=True, timeout=60)
