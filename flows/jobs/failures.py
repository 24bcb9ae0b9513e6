"""What has failed and not succeeded since, and what was done with a warning."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from reelmill.pipeline.download.words import class_now, still_permanent
from reelmill.storage import Outcomes
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class Failure:
    """The newest outcome of a key, which is a failure."""

    stage: str
    key: str
    spec: str | None
    """Name of the feature store, of a failure to extract."""
    error_class: str = field(metadata={"key": "class"})
    permanent: bool = False
    """Not tried again unless that is asked for."""
    message: str = ""
    """One line of it."""
    time: str = ""
    """ISO 8601, UTC."""

    @property
    def identity(self) -> tuple[str, str, str | None]:
        """Two failures with the same are of the same thing."""
        return self.stage, self.key, self.spec

    @property
    def where(self) -> str:
        """`extract c3d-fc6-1f0c22ab`: stage and store."""
        return " ".join(filter(None, (self.stage, self.spec)))

    @property
    def kind(self) -> str:
        """`extract c3d-fc6-1f0c22ab: unsupported`."""
        return f"{self.where}: {self.error_class}"


@dataclass(frozen=True)
class Warned:
    """The newest outcome of a key, which is a warning: it was done, but what was found contradicts itself."""

    stage: str
    key: str
    kind: str = field(metadata={"key": "class"})
    message: str
    time: str
    """ISO 8601, UTC."""


def newest_failures(root: AnyRoot) -> list[Failure]:
    """Every (stage, key, spec) whose newest outcome is a failure, the newest first."""
    return newest_failures_and_warnings(root)[0]


def newest_failures_and_warnings(root: AnyRoot) -> tuple[list[Failure], list[Warned]]:
    """The same, and every stage and key whose newest outcome is a warning, the newest first."""
    newest = Outcomes(root).newest(["status", "error_class", "permanent", "message", "time"], join_probe=True)
    rows = newest.filter(pc.not_equal(newest["status"], "done")).to_pylist()
    rows.sort(key=lambda row: row["time"], reverse=True)
    failures = [
        Failure(
            row["stage"], row["key"], row["spec"], *_verdict(row), _line(row["message"]), row["time"].isoformat(),
        )
        for row in rows
        if row["status"] == "failed"
    ]  # fmt: skip
    warnings = [
        Warned(row["stage"], row["key"], row["error_class"], _line(row["message"]), row["time"].isoformat())
        for row in rows
        if row["status"] == "warned"
    ]
    return failures, warnings


def _verdict(row: dict[str, Any]) -> tuple[str, bool]:
    """Class and whether it is permanent, of a download by the classes of today: an older version took some of them for
    permanent, such as a 403."""
    name, message, recorded = row["error_class"], row["message"], bool(row["permanent"])
    if row["stage"] != "download":
        return name, recorded
    return class_now(name, message), still_permanent(name, message, recorded)


def _line(message: str | None) -> str:
    """The first line of a message; of a traceback the last, which says what it was."""
    lines = (message or "").strip().splitlines() or [""]
    return lines[-1 if any(line.startswith(("Traceback ", '  File "')) for line in lines) else 0]
