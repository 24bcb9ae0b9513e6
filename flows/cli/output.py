"""How results are printed: one JSON object for programs, tables for people."""

import json
import os
import sys
from collections.abc import Callable, Container, Mapping
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from reelmill.flows.progress import safe

R = TypeVar("R")

GAP = 2
"""Spaces between two columns."""
FOLDED = 20
"""Minimum width of a column whose words may be folded."""
UNBOUNDED = 10_000
"""Width if the output is not a terminal: a file or a pipe gets one line per row."""


def show(figures: R, as_json: bool, render: Callable[[Console, R], None]) -> None:
    """Print the result of a job on stdout, as JSON or as `render` does."""
    if as_json:
        from reelmill.flows.jobs.results import plain

        sys.stdout.write(json.dumps(plain(figures), default=str, indent=2) + "\n")
        return
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    render(Console(highlight=False, width=None if terminal else UNBOUNDED), figures)


class Table:
    """Rows under headings, of which no word and no number is ever cut.

    A column is at least as wide as its longest word, a column of numbers as its longest cell. Where these do not fit
    side by side, each row becomes a block of `heading: cell` lines. Cells may hold rich's markup."""

    def __init__(
        self, *headings: str, numbers: Container[int] = (), fold: Container[int] = (), title: str = ""
    ) -> None:
        """`numbers`: the columns, from 0, that are aligned to the right and never broken; `fold`: those whose long
        words (paths) may go over several lines."""
        self.headings, self.numbers, self.fold, self.title = headings, numbers, fold, title
        self.rows: list[tuple[Text, ...]] = []

    def add(self, *cells: str) -> None:
        """One more row; missing cells at its end are empty."""
        cells += ("",) * (len(self.headings) - len(cells))
        self.rows.append(tuple(Text.from_markup(cell) for cell in cells))

    def print(self, out: Console) -> None:
        """Print the table in the width of the console."""
        if self.title:
            out.print(self.title, soft_wrap=True)
        widths = self._widths(out.width - 3 - GAP * (len(self.headings) - 1))
        out.print()
        for line in self._blocks() if widths is None else self._lines(out, widths):
            line.rstrip()
            out.print(line, soft_wrap=True)
        out.print()

    def _widths(self, room: int) -> list[int] | None:
        """Width of each column in characters, within `room`; None if words would be cut."""
        columns = list(zip((Text(heading) for heading in self.headings), *self.rows, strict=True))
        widths = [max(_widest(cell) for cell in column) for column in columns]
        least = [
            width if number in self.numbers else min(max(_longest_word(cell) for cell in column), self._most(number))
            for number, (width, column) in enumerate(zip(widths, columns, strict=True))
        ]
        if sum(least) > room:
            return None
        while sum(widths) > room:
            shrinking = max((width, number) for number, width in enumerate(widths) if width > least[number])
            widths[shrinking[1]] -= 1
        return widths

    def _most(self, column: int) -> int:
        """The largest minimum width of a column."""
        return FOLDED if column in self.fold else UNBOUNDED

    def _lines(self, out: Console, widths: list[int]) -> list[Text]:
        heading = self._row(out, tuple(Text(text, style="bold") for text in self.headings), widths)
        rule = Text(" " + "─" * (sum(widths) + GAP * (len(widths) - 1) + 2))
        return [*heading, rule, *(line for row in self.rows for line in self._row(out, row, widths))]

    def _row(self, out: Console, cells: tuple[Text, ...], widths: list[int]) -> list[Text]:
        """A row as lines: the words of each cell wrapped in its column."""
        wrapped = [list(cell.wrap(out, width)) if cell else [] for cell, width in zip(cells, widths, strict=True)]
        lines = []
        for number in range(max(1, *map(len, wrapped))):
            line = Text("  ")
            for column, (parts, width) in enumerate(zip(wrapped, widths, strict=True)):
                part = parts[number] if number < len(parts) else Text()
                part.rstrip()
                space = " " * (width - part.cell_len)
                line.append_text(Text(space) + part if column in self.numbers else part + Text(space))
                line.append(" " * GAP)
            lines.append(line)
        return lines

    def _blocks(self) -> list[Text]:
        """Each row as lines `heading: cell`, for a narrow terminal. Empty cells are left out."""
        lines = []
        for row in self.rows:
            for number, (heading, cell) in enumerate(zip(self.headings, row, strict=True)):
                if cell:
                    lines.append(Text("  " if number == 0 else "    "))
                    lines[-1].append_text(Text(f"{heading}: ") + cell if heading else cell)
        return lines


def _widest(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)


def _longest_word(cell: Text) -> int:
    return max((Text(word).cell_len for word in cell.plain.split()), default=0)


def classes(failed: dict[str, int]) -> str:
    """`3 network, 1 removed`."""
    return ", ".join(f"{count:,} {safe(name)}" for name, count in sorted(failed.items()))


def show_skipped(out: Console, skipped: Mapping[str, int]) -> None:
    """Files of a folder that are no videos, by kind; nothing if there are none."""
    if skipped:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in skipped.items())
        out.print(f"skipped: {safe(kinds)}", soft_wrap=True)
