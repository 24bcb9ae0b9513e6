"""What the demo prints, without its numbers: to compare a page with a run, or a smaller demo with the full one."""

import re
from typing import NamedTuple


class Shape(NamedTuple):
    """A table without its numbers."""

    title: str
    """The line above it, numbers as `#`; empty if there is none."""
    headings: tuple[str, ...]
    rows: tuple[str, ...]
    """First cells; of a feature store without its fingerprint."""


def shapes(text: str) -> list[Shape]:
    """The tables of an output that is wide enough for its headings to stand in one line."""
    lines, found, ruled = text.split("\n"), [], [0]
    for number, line in enumerate(lines):
        if not line.strip() or set(line.strip()) != {"─"}:
            continue
        above = [other for other in lines[ruled[-1] : number - 1] if other[:1].strip() and other != "…"]
        title = re.sub(r"\d[\d,]*", "#", above[-1].strip()) if above else ""
        body = [other for other in lines[number + 1 :] if not other or other.startswith(" ")]
        end = body.index("") if "" in body else len(body)
        first = [re.split(r"\s{2,}", row.strip())[0] for row in body[:end] if re.match(r"  \S", row)]
        rows = tuple(re.sub(r"-[0-9a-f]{8}$", "", name) for name in first)
        found.append(Shape(title, tuple(re.split(r"\s{2,}", lines[number - 1].strip())), rows))
        ruled.append(number + 1 + end)
    return found


def sentences(text: str) -> list[str]:
    """The lines between the tables, numbers as `#`, without paths and progress bars."""
    lines = (line.strip() for line in text.split("\n") if line[:1].strip() and "━" not in line and line != "…")
    return [re.sub(r"\d[\d,]*", "#", re.sub(r"^(report): .*", r"\1", line)) for line in lines if line[:3] != "```"]


def block(page: str) -> str:
    """The part of a page between `<!-- demo -->` and `<!-- /demo -->`."""
    return page.split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
