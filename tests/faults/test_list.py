"""The list of faults and the tests agree."""

import re
from pathlib import Path

import tests.faults

HERE = Path(__file__).parent


def test_every_fault_has_its_test_and_every_test_its_fault() -> None:
    listed = re.findall(r"^[^|\n]+ \| [^|\n]+ \| (\S+)::(\w+)$", tests.faults.__doc__ or "", re.MULTILINE)
    assert len(listed) == (tests.faults.__doc__ or "").count(" | ") / 2 - 1  # the line that explains them
    for file, name in listed:
        assert re.search(rf"^def {name}\(", (HERE.parent / file).read_text(), re.MULTILINE), f"{file} has no {name}"
    there = {
        (f"faults/{path.name}", name)
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert there - set(listed) == {("faults/test_list.py", "test_every_fault_has_its_test_and_every_test_its_fault")}
