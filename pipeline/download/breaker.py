"""Hosts that refuse every video are left alone for a while: a circuit breaker per host.

A host that bans a machine for an hour would otherwise be asked for each video of a corpus. The state is one small file
per host beside the pauses of `hosts`, shared by all threads and processes of this machine that download into a root.
"""

import contextlib
import fcntl
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reelmill.pipeline import errors
from reelmill.pipeline.download.hosts import LONGEST_HOLD_S

REFUSALS = 5
"""A host is paused after it has refused this many videos in a row."""
PAUSE_S = 3600.0
"""Length of the pause, from the last refusal. After it one more refusal is enough for the next pause."""
FORGET_S = 24 * 3600.0
"""Refusals that are older do not count."""


@dataclass(frozen=True)
class PausedHost:
    """A host of which nothing is asked for now."""

    host: str
    until: str
    """ISO 8601, UTC."""
    reason: str


@dataclass(frozen=True)
class HostBreaker:
    """Counts the refusals of hosts. `folder`: where the state is kept."""

    folder: str

    def check(self, host: str) -> None:
        """Raise HostPaused if this host is paused."""
        count, left_s = self._state(host)
        if left_s > 0:
            raise errors.HostPaused(
                f"{host} refused {count} videos in a row; nothing is asked of it for another {left_s / 60:.0f} min, "
                "and its videos are left to a later run"
            )

    def record(self, host: str, error: errors.VideoError | None) -> None:
        """Count how a download from this host ended: None resets the count, a refusal increases it. A host that said
        itself how long to wait is paused by `HostPacer`; other failures say nothing about the host."""
        refused = isinstance(error, errors.Forbidden | errors.FormatUnavailable | errors.RateLimited)
        if error is None:
            if self._file(host).exists():
                self._change(host, reset=True)
        elif refused and not error.retry_after_s:
            self._change(host, reset=False)

    def _file(self, host: str) -> Path:
        return Path(self.folder) / f"{hashlib.sha256(host.encode()).hexdigest()[:16]}.refusals"

    def _state(self, host: str) -> tuple[int, float]:
        """The number of refusals in a row, and the seconds that are left of the pause."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or damaged by a power cut
            said = json.loads(self._file(host).read_text())
            age = time.time() - said["at"]
            if 0 <= age < FORGET_S:  # a clock that was set back must not pause a host for years
                return said["count"], PAUSE_S - age if said["count"] >= REFUSALS else 0.0
        return 0, 0.0

    def _change(self, host: str, *, reset: bool) -> None:
        file = self._file(host)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            count = 0 if reset else self._state(host)[0] + 1
            opened.truncate(0)
            opened.write(json.dumps({"host": host, "count": count, "at": time.time()}))


def paused_hosts(folder: Path) -> list[PausedHost]:
    """Hosts that are paused, by name. `folder`: where `HostBreaker` and `HostPacer` keep their state."""
    found, now = [], time.time()
    for file in sorted(folder.glob("*")):
        try:
            said = json.loads(file.read_text())
            if file.suffix == ".refusals":
                until = said["at"] + PAUSE_S if said["count"] >= REFUSALS else 0.0
                reason = f"it refused {said['count']} videos in a row"
            else:
                until, reason = said["shut_until"], "it asked for a pause"
            if now < until <= now + LONGEST_HOLD_S:
                moment = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
                found.append(PausedHost(said["host"], moment, reason))
        except (OSError, ValueError, KeyError, TypeError):  # damaged by a power cut, or of an older version
            continue
    return sorted(found, key=lambda paused: (paused.host, paused.until))
