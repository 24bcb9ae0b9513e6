"""Failures are data: one row for each thing attempted, whatever came of it.

What is left to do is asked of the stores; outcomes only say what not to try again (permanent failures), and what to
tell.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.place import AnyRoot
from reelmill.storage.tables import Tables


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    stage: str
    key: str
    status: Literal["done", "failed"]
    spec: str | None = None
    error_class: str | None = None
    permanent: bool | None = None
    message: str | None = None
    attempt: int = 1
    seconds: float = 0.0
    time: datetime = field(default_factory=lambda: datetime.fromtimestamp(time.time(), UTC))

    @classmethod
    def failure(cls, stage: str, key: str, error: BaseException, **rest: Any) -> "Outcome":
        """The outcome of an exception. Errors that carry `error_class` and `permanent` say so themselves; any other
        is `unknown`, not permanent, and keeps its traceback."""
        import traceback

        known = getattr(error, "error_class", None)
        message = str(error)[:4000] if known else "".join(traceback.format_exception(error))[-4000:]  # its end says why
        return cls(stage, key, "failed", error_class=known or "unknown",
                   permanent=bool(getattr(error, "permanent", False)), message=message, **rest)  # fmt: skip


class Outcomes:
    """The outcomes table of a root."""

    def __init__(self, root: AnyRoot) -> None:
        self.tables = Tables(root)

    def write(self, outcomes: Iterable[Outcome]) -> None:
        """Add one part with these rows."""
        self.tables.write("outcomes", [vars(outcome) for outcome in outcomes])

    def latest(self, stage: str, spec: str | None = None) -> dict[str, dict[str, Any]]:
        """The newest outcome of each key in this stage (and for this store), as {key: row}."""
        return {row["key"]: row for row in self._newest(stage, spec).to_pylist()}

    def permanently_failed(self, stage: str, spec: str | None = None) -> set[str]:
        """Keys whose newest outcome is a failure that trying again cannot mend."""
        newest = self._newest(stage, spec)
        return set(newest.filter(pc.and_(pc.equal(newest["status"], "failed"), newest["permanent"]))["key"].to_pylist())

    def _newest(self, stage: str, spec: str | None) -> pa.Table:
        """Of each key the last row, in the order in which they were written."""
        table = self.tables.read("outcomes")
        here = pc.is_null(table["spec"]) if spec is None else pc.equal(table["spec"], spec)
        table = table.filter(pc.and_(pc.equal(table["stage"], stage), here))
        keys = pc.dictionary_encode(table["key"]).combine_chunks()
        last = np.zeros(len(keys.dictionary), np.int64)
        last[keys.indices.to_numpy()] = np.arange(len(table))  # of a repeated index the last value stays
        return table.take(np.sort(last))

    def permanently_failed_by_spec(self, stage: str) -> dict[str, set[str]]:
        """`permanently_failed` of every store at once, {spec: keys}; the table is read once."""
        table = self.tables.read("outcomes", ["stage", "key", "spec", "status", "permanent"])
        newest = {(r["spec"], r["key"]): r for r in table.filter(pc.equal(table["stage"], stage)).to_pylist()}
        failed: dict[str, set[str]] = {}
        for (spec, key), row in newest.items():
            if spec is not None and row["status"] == "failed" and row["permanent"]:
                failed.setdefault(spec, set()).add(key)
        return failed
