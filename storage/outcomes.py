"""Failures are data: one row for each attempt, done or failed; or warned: done, but something contradicts itself.

What is left to do is asked of the stores; outcomes only say what not to try again (permanent failures), and what to
report.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.place import AnyRoot
from reelmill.storage.schema import SCHEMAS
from reelmill.storage.tables import Tables

IDENTITY = ["stage", "key", "spec"]
"""Identify what was attempted: of rows with the same values the newest counts."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt."""

    stage: str
    key: str
    status: Literal["done", "failed", "warned"]
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

    def newest(self, columns: Sequence[str] | None = None, *, join_probe: bool = False) -> pa.Table:
        """The newest row of each stage, key and spec, with these columns besides (all if not given), in the order of
        the first attempts. `join_probe`: a probe counts as the end of its download, since one attempt at a video ends
        as one of the two."""
        asked = list(columns) if columns is not None else SCHEMAS["outcomes"].names
        table = self.tables.read("outcomes", list(dict.fromkeys([*IDENTITY, *asked])))
        if join_probe:
            stage = pc.if_else(pc.equal(table["stage"], "probe"), "download", table["stage"])
            table = table.set_column(table.column_names.index("stage"), table.schema.field("stage"), stage)
        numbered = table.select(IDENTITY).append_column("row", pa.array(np.arange(len(table))))
        last = numbered.group_by(IDENTITY, use_threads=False).aggregate([("row", "max")])["row_max"]
        return table.take(last)

    def latest(self, stage: str, spec: str | None = None) -> dict[str, dict[str, Any]]:
        """The newest outcome of each key in this stage (and for this store), as {key: row}."""
        table = self.newest()
        here = pc.is_null(table["spec"]) if spec is None else pc.equal(table["spec"], spec)
        return {row["key"]: row for row in table.filter(pc.and_(pc.equal(table["stage"], stage), here)).to_pylist()}

    def permanently_failed(self, stage: str) -> dict[str | None, set[str]]:
        """{spec: keys} whose newest outcome in this stage is a permanent failure; spec is None in stages without specs.
        A download that succeeded and whose probe failed has failed."""
        table = self.newest(["status", "permanent"], join_probe=True)
        failed = pc.and_(pc.equal(table["status"], "failed"), table["permanent"])
        found: dict[str | None, set[str]] = {}
        for row in table.filter(pc.and_(pc.equal(table["stage"], stage), failed)).to_pylist():
            found.setdefault(row["spec"], set()).add(row["key"])
        return found
