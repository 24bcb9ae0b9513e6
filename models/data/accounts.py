"""Where every row of a table went: read = used + Σ left out, each rule under the name of its count."""

from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Account:
    """The rows of one table that a loader reads."""

    what: str
    """Name of the table, such as `events`."""
    read: int
    used: int
    left_out: dict[str, int] = field(default_factory=dict)
    """{name of the count: rows}, of every rule by which a row is not used."""

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for, once."""
        return self.read == self.used + sum(self.left_out.values())

    def counts(self) -> dict[str, int]:
        """As `metrics.json` has it."""
        return {f"{self.what}_read": self.read, f"{self.what}_used": self.used, **self.left_out}


def unused_kinds(events: pa.Table, used: Collection[str]) -> dict[str, int]:
    """{`events_unused_<kind>`: events} of the kinds that are not read, such as watches beside ratings."""
    found = pc.value_counts(events["kind"]).to_pylist()
    return {
        f"events_unused_{row['values']}": row["counts"]
        for row in sorted(found, key=lambda row: row["values"])
        if row["values"] not in used
    }
