"""What a person sees while work goes on. Steps report to `current()`; without a terminal nothing is drawn."""

import contextlib
import time
import unicodedata
from collections.abc import Iterator
from threading import Lock

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

console = Console(stderr=True)
"""Everything for people goes to stderr; stdout is for results."""
OTHERS = 80
"""Width of the columns before the note."""


def visible(text: str, keep: str = "") -> str:
    """Text from outside with its control characters written out, except those in `keep`."""
    return "".join(c if c in keep or unicodedata.category(c)[0] != "C" else repr(c)[1:-1] for c in text)


def safe(text: str) -> str:
    """Text from outside for a terminal: control characters made visible, markup switched off; lines stay lines."""
    return escape(visible(text, keep="\n"))


class _Note(ProgressColumn):
    """What happened last, cut so that the other columns keep their places."""

    def render(self, task: Task) -> Text:
        note = Text(task.fields["note"], style="dim", no_wrap=True)
        note.truncate(max(console.width - OTHERS, 0), overflow="ellipsis")
        return note


class _Rate(ProgressColumn):
    """Multiples of real time for video work, things a second for other work."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        if task.fields.get("realtime"):
            return Text(f"{speed:.1f}× real time", style="cyan")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min", style="cyan")


class Reporter:
    """Progress of one stage at a time, safe to call from many threads. Silent unless it was given a display."""

    def __init__(self, display: Progress | None = None) -> None:
        self.display = display
        self._tasks: dict[str, TaskID] = {}
        self._finished: dict[str, set[str]] = {}
        self._lock = Lock()

    def start(self, stage: str, total: float, *, items: int = 0, unit: str = "videos", realtime: bool = False) -> None:
        """Begin a stage of `total` steps (seconds of video when `realtime`) over `items` things."""
        self._finished[stage] = set()
        if self.display is not None:
            with self._lock:
                fields = {"done": 0, "items": items, "unit": unit, "realtime": realtime, "note": ""}
                self._tasks[stage] = self.display.add_task(f"{stage:<9}", total=total, **fields)  # type: ignore[arg-type]

    def advance(self, stage: str, steps: float = 1, *, items: int = 1, note: str = "") -> None:
        """`steps` more of the total and `items` more things are done."""
        if self.display is not None and stage in self._tasks:
            with self._lock:
                number = self._tasks[stage]
                done = next(t for t in self.display.tasks if t.id == number).fields["done"] + items
                self.display.update(number, advance=steps, done=done, note=visible(note))

    def finished(self, stage: str, key: str, steps: float = 1, note: str = "") -> None:
        """One thing of a stage, with this key, is finished. It counts once, also where a block that failed is tried
        again, and finds some of its things done."""
        with self._lock:
            known = self._finished.setdefault(stage, set())
            if key in known:
                return
            known.add(key)
        self.advance(stage, steps, note=note)

    def say(self, text: str) -> None:
        """One line for people, above the bars."""
        if self.display is not None:
            self.display.console.print(Text(visible(text)))


class Lines(Reporter):
    """Progress as plain lines, for logs: one at the start of a stage, one at its end, one every `EVERY_S` between."""

    EVERY_S = 15.0

    def __init__(self) -> None:
        super().__init__()
        self._stages: dict[str, dict[str, float]] = {}

    def start(self, stage: str, total: float, *, items: int = 0, unit: str = "videos", realtime: bool = False) -> None:
        super().start(stage, total, items=items, unit=unit, realtime=realtime)
        now = time.monotonic()
        self._stages[stage] = {"total": total, "items": items, "began": now, "told": now, "steps": 0, "done": 0,
                               "realtime": realtime}  # fmt: skip
        self.say(f"{stage}: {items} {unit}")

    def advance(self, stage: str, steps: float = 1, *, items: int = 1, note: str = "") -> None:
        with self._lock:
            state, now = self._stages[stage], time.monotonic()
            state["steps"] += steps
            state["done"] += items
            if state["done"] < state["items"] and now - state["told"] < self.EVERY_S:
                return
            state["told"] = now
            rate = state["steps"] / max(now - state["began"], 1e-9)
            speed = f", {rate:.1f}× real time" if state["realtime"] else ""
            left = f", {(state['total'] - state['steps']) / rate:.0f} s left" if state["done"] < state["items"] else ""
            said = f"  {note}" if note else ""
            self.say(f"{stage}: {state['done']:.0f}/{state['items']:.0f}{speed}{left}{said}")

    def say(self, text: str) -> None:
        console.print(Text(visible(text)), soft_wrap=True)


_current = Reporter()


def current() -> Reporter:
    """The reporter of this process."""
    return _current


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Let steps report to this one while the block runs."""
    global _current
    before, _current = _current, reporter
    try:
        yield
    finally:
        _current = before


@contextlib.contextmanager
def shown(quiet: bool = False) -> Iterator[Reporter]:
    """Draw bars on stderr while the block runs, or write plain lines where stderr is no terminal."""
    global _current
    before = _current
    if quiet or not console.is_terminal:
        _current = before if quiet else Lines()
        try:
            yield _current
        finally:
            _current = before
        return
    display = Progress(
        TextColumn("{task.description}", style="bold", table_column=Column(no_wrap=True, min_width=16)),
        BarColumn(bar_width=20, table_column=Column(min_width=20)),
        TextColumn(
            "{task.fields[done]}/{task.fields[items]} {task.fields[unit]}",
            table_column=Column(no_wrap=True, min_width=12),
        ),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        _Note(),
        console=console,
        refresh_per_second=4,
    )
    _current = Reporter(display)
    try:
        with display:
            yield _current
    finally:
        _current = before
