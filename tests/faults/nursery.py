"""The process that forks the workers of these tests: it imports torch once and has one thread."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.downloads import ingests
from tests.faults.kills import campaign
from tests.faults.moments import moments

JOBS: dict[str, Callable[[dict[str, Any]], Iterator[Any]]] = {
    "campaign": campaign,
    "ingests": ingests,
    "moments": moments,
}


def work(job: dict[str, Any]) -> Iterator[Any]:
    """Target for a child process; `do` names the job."""
    yield from JOBS[job["do"]](job)
