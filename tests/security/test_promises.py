"""The list of promises against the tests."""

import ast
import re
from pathlib import Path

from tests import security

TESTS = Path(__file__).parents[1]


def names(file: Path) -> set[str]:
    """`test_media:a_list_is_not_followed` of each test in a file."""
    return {
        f"{file.stem}:{node.name.removeprefix('test_')}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def promised() -> list[str]:
    found, file = [], ""
    for line in (security.__doc__ or "").splitlines():
        file = line if re.fullmatch(r"test_\w+", line) else file
        if name := re.match(r"    (\w+):", line):
            found.append(f"{file}:{name[1]}")
    return found


def test_every_promise_has_a_test_and_every_test_a_promise() -> None:
    listed = promised()
    assert len(listed) == len(set(listed)) > 50
    there = set().union(*map(names, TESTS.rglob("test_*.py")))
    assert set(listed) <= there, sorted(set(listed) - there)
    here = set().union(*(names(file) for file in (TESTS / "security").glob("test_*.py") if file != Path(__file__)))
    assert here <= set(listed), sorted(here - set(listed))
