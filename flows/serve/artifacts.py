"""What a server shows of a run beside its state: progress, outcomes by class, where the report is.

Only deployed runs keep artifacts. A server that does not answer costs them a line in the log, never the work.
"""

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import runtime
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectHTTPStatusError

from reelmill.flows import progress
from reelmill.flows.jobs import steps
from reelmill.flows.jobs.failures import newest_failures
from reelmill.flows.progress import Reporter
from reelmill.flows.settings.sections import Settings
from reelmill.storage import Outcomes, Root

EVERY_S = 5.0
"""Seconds between two looks at the progress."""

UNREACHABLE = (httpx.HTTPError, PrefectHTTPStatusError, OSError)
"""What the client raises when a server does not answer, or not well."""


def key(*parts: str) -> str:
    """An artifact's key: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


class Watched(Reporter):
    """Passes progress on to another reporter, and to one artifact a stage, which a thread keeps up to date."""

    def __init__(self, inner: Reporter, name: str, flow_run: UUID) -> None:
        super().__init__()
        self.inner, self.name, self.flow_run = inner, name, flow_run
        self._stages: dict[str, dict[str, Any]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post_often, name="artifacts", daemon=True)

    def start(self, stage: str, total: float, *, items: int = 0, unit: str = "videos", realtime: bool = False) -> None:
        super().start(stage, total, items=items, unit=unit, realtime=realtime)
        self.inner.start(stage, total, items=items, unit=unit, realtime=realtime)
        with self._lock:
            self._stages[stage] = {"total": total, "steps": 0.0, "items": items, "done": 0, "unit": unit,
                                   "posted": None, "artifact": None}  # fmt: skip

    def advance(self, stage: str, steps: float = 1, *, items: int = 1, note: str = "") -> None:
        self.inner.advance(stage, steps, items=items, note=note)
        with self._lock:
            if stage in self._stages:
                self._stages[stage]["steps"] += steps
                self._stages[stage]["done"] += items

    def say(self, text: str) -> None:
        self.inner.say(text)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=60)

    def _post_often(self) -> None:
        ended, silent = False, False
        while not ended:
            ended = self._ended.wait(EVERY_S)
            try:
                self._post()
                silent = False
            except UNREACHABLE as error:
                if not silent:
                    self.say(f"the server does not take progress: {error}; the work goes on")
                silent = True

    def _post(self) -> None:
        """Create or update the artifact of each stage that went on since the last time."""
        with self._lock:
            stages = {name: dict(stage) for name, stage in self._stages.items()}
        for name, stage in stages.items():
            share = 100 * min(stage["steps"] / stage["total"], 1.0) if stage["total"] else 100.0
            said = f"{name}: {stage['done']} of {stage['items']} {stage['unit']}"
            if (share, said) == stage["posted"]:
                continue
            with get_client(sync_client=True) as client:
                if stage["artifact"] is None:
                    made = client.create_artifact(
                        ArtifactCreate(
                            type="progress",
                            key=key(self.name, "progress", name),
                            description=said,
                            data=share,
                            flow_run_id=self.flow_run,
                        )
                    )
                    self._stages[name]["artifact"] = made.id
                else:
                    client.update_artifact(stage["artifact"], ArtifactUpdate(data=share, description=said))
            self._stages[name]["posted"] = (share, said)


class Kept:
    """Tables and links of one run of a root."""

    def __init__(self, settings: Settings) -> None:
        self.root = steps.root_of(settings)
        self.name = self.root.name
        self._before = self._failures()

    def outcomes(self) -> dict[str, int]:
        """Keep a table of outcomes by class; return what failed and had not failed before, as {stage: class: count}."""
        fresh = self._failures() - self._before
        new = Counter((stage, store or "", kind) for stage, _, store, kind in fresh)
        rows = [
            {"stage": stage, "store": store, "class": kind, "things": count, "new": new[stage, store, kind]}
            for (stage, store, kind), count in sorted(outcomes_by_class(self.root).items())
        ]
        with _in_spite_of_the_server():
            create_table_artifact(rows, key=key(self.name, "outcomes"), description="Newest outcomes, by class")
        return dict(Counter(f"{' '.join(filter(None, (stage, store)))}: {kind}" for stage, _, store, kind in fresh))

    def report(self, path: str) -> None:
        """Keep a link to the report page."""
        link = path if "://" in path else Path(path).as_uri()
        with _in_spite_of_the_server():
            create_link_artifact(link, path, key=key(self.name, "report"), description="Report page")

    def _failures(self) -> set[tuple[str, str, str | None, str]]:
        return {(*one.identity, one.error_class) for one in newest_failures(self.root)}


def outcomes_by_class(root: Root) -> Counter[tuple[str, str, str]]:
    """Newest outcomes by (stage, store or "", class), as `status` counts them; the class of successes is `done`."""
    return Counter(
        (row["stage"], row["spec"] or "", row["error_class"] if row["status"] == "failed" else "done")
        for row in Outcomes(root).newest(["status", "error_class"], join_probe=True).to_pylist()
    )


@contextlib.contextmanager
def kept(settings: Settings) -> Iterator[Kept]:
    """Inside a deployed run: progress goes into artifacts while the block runs; `Kept` keeps the others."""
    told = Kept(settings)
    with (
        progress.shown() as plain,
        Watched(plain, told.name, UUID(str(runtime.flow_run.id))) as watched,
        progress.reporting(watched),
    ):
        yield told


@contextlib.contextmanager
def _in_spite_of_the_server() -> Iterator[None]:
    try:
        yield
    except UNREACHABLE as error:
        progress.current().say(f"the server does not take an artifact: {error}; the work goes on")
