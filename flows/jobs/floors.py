"""Rankings of segments without features or training: what a recommender has to beat."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelmill.flows.jobs.places import DataResult
from reelmill.flows.jobs.results import OPTIONAL


@dataclass(frozen=True)
class FloorsResult:
    """Rows of the evaluation, as every fit has them."""

    rows: list[dict[str, Any]]
    by_sparsity: list[dict[str, Any]]
    last_videos: list[dict[str, Any]]
    """On what the source marks as last; empty where it marks nothing."""
    counts: dict[str, int]
    data: DataResult | None = field(default=None, metadata=OPTIONAL)
    """What was read of a data set, if one was given."""


def floors(root: str | Path, data: Path | None = None) -> FloorsResult:
    """Measured on a root's labels, after a published table was read into it, if one is given."""
    from reelmill.models.protocols.segments.floors import floors as measured
    from reelmill.pipeline import dataset

    read = DataResult(dataset.read(root, data), {}) if data is not None else None
    sources = [source.source for source in read.found.sources] if read is not None else []
    return FloorsResult(**measured(root, sources=sources), data=read)
