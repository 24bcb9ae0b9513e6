"""Results of jobs are small dataclasses; as plain data they have the keys that `--json` promises."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

from reelmill.flows.jobs.failures import Failure
from reelmill.flows.jobs.results import INLINE, OPTIONAL, plain
from reelmill.flows.jobs.run import NOTHING
from reelmill.flows.jobs.steps import SourceResult

FLOWS = Path(__file__).parents[2] / "flows"
LOOSE = ("dict[str, Any]", "Mapping[str, Any]", "dict[str, object]")


@dataclass(frozen=True)
class Inner:
    a: int
    b: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(metadata=INLINE)
    named: str = field(metadata={"key": "class"})
    many: dict[str, Inner] = field(default_factory=dict)
    maybe: int | None = field(default=None, metadata=OPTIONAL)
    none: int | None = None


def test_a_result_is_plain_data() -> None:
    assert plain(Outer(Inner(1), "x")) == {"a": 1, "b": [], "class": "x", "many": {}, "none": None}
    assert plain(Outer(Inner(1, (2, 3)), "x", {"k": Inner(4)}, 5, 6)) == {
        "a": 1, "b": [2, 3], "class": "x", "many": {"k": {"a": 4, "b": []}}, "maybe": 5, "none": 6,
    }  # fmt: skip
    assert plain([Path("/a"), {"b": Path("/c")}]) == ["/a", {"b": "/c"}]
    assert plain(SourceResult(False, None)) == {"read": False}
    assert plain(NOTHING).keys() == {"fits", "unfitted", "reason"}
    assert plain(Failure("probe", "v", None, "corrupt"))["class"] == "corrupt"


def test_no_function_of_flows_returns_a_loose_dict() -> None:
    """Only settings, which are whatever a file holds until they are checked, go as dicts."""
    wrong, count = [], 0
    for file in sorted(FLOWS.rglob("*.py")):
        if file.is_relative_to(FLOWS / "settings"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
                count += 1
                returns = ast.unparse(node.returns)
                if any(loose in returns for loose in LOOSE) and not (
                    file.name == "places.py" and node.name == "_knobs"
                ):
                    wrong.append(f"{file.relative_to(FLOWS)}:{node.lineno}: {node.name} returns {returns}")
    assert count > 100
    assert not wrong, "\n".join(wrong)
