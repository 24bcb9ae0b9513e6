"""The rules of the house, read off the source: who may import whom, one door per dependency, sizes, docstrings."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
MAY_IMPORT = {
    "storage": {"storage"},
    "extractors": {"extractors", "storage"},
    "pipeline": {"pipeline", "extractors", "storage"},
    "models": {"models", "extractors", "storage"},
    "flows": {"flows", "pipeline", "models", "extractors", "storage"},
}
DOORS = {
    "prefect": ("flows/",),
    "typer": ("flows/",),
    "pydantic": ("flows/",),
    "yaml": ("flows/",),
    "torch": ("extractors/", "models/"),
    "torchvision": ("extractors/", "models/"),
    "pytorchvideo": ("extractors/", "models/"),
    "h5py": ("storage/",),
    "fsspec": ("storage/",),
    "upath": ("storage/",),
    "yt_dlp": ("pipeline/download.py",),
    "av": ("pipeline/decode/", "pipeline/sound.py", "pipeline/render.py"),
    "decord": ("pipeline/decode/",),
    "torchcodec": ("pipeline/decode/",),
    "librosa": ("extractors/",),
    "gensim": ("extractors/",),
}
FILE_LINES, FUNCTION_LINES = 320, 70
"""The plan says about 300 and about 60."""

FILES = sorted(path.relative_to(HOUSE).as_posix() for room in MAY_IMPORT for path in (HOUSE / room).rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((HOUSE / file).read_text(), file)


def imports(file: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import of a file, also in functions, under TYPE_CHECKING and by `import_module`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import; write the whole name"
            assert node.module
            yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
                yield node.lineno, node.args[0].value


def test_the_house_stands() -> None:
    assert {file.split("/")[0] for file in FILES} == set(MAY_IMPORT)
    assert len(FILES) > 30
    assert {name.split(".")[0] for file in FILES for _, name in imports(file)} >= DOORS.keys(), "a door to nowhere"


def test_rooms_import_downwards() -> None:
    wrong = []
    for file in FILES:
        room = file.split("/")[0]
        for line, name in imports(file):
            other = name.split(".")[0]
            if other in {*MAY_IMPORT, "tests"} and other not in MAY_IMPORT[room]:
                wrong.append(f"{file}:{line}: {room} may not import {name}")
    assert not wrong, "\n".join(wrong)


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


@pytest.mark.parametrize("room", ["storage", "pipeline", "extractors.frames"])
def test_light_processes_stay_light(room: str) -> None:
    """Download and decoding processes import these: torch costs 5 s and 650 MB, Prefect 2 s."""
    under = room.replace(".", "/")
    names = [file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in FILES]
    modules = [name for name in names if f"{name}.".startswith(f"{under.replace('/', '.')}.")]
    assert modules
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'torchvision', 'prefect', 'pydantic', 'typer', 's3fs', 'upath'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_errors_are_light() -> None:
    """A process that only needs to say what went wrong does not pay for pyarrow and h5py."""
    code = "import pipeline.errors, sys; assert not {'pyarrow', 'h5py', 'numpy'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=True, timeout=60)
