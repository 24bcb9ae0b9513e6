"""How fast this machine extracts: measured while it works, stored in the table `rates`, used by `plan`.

    part         amount               seconds
    a network    rows of batches      in the network, or waiting for it
    decode       frames               processor time in the decoding processes
    wait         seconds of video     in which the networks waited for frames
    begin        1                    until the first frames came (a process was started), and the last commit
    rest         seconds of video     everything else: averaging, key frames, sealing
    load         1                    loading weights

If the same extractors have run together before, each part is proportional to its amount. If not, the estimate is the
longer of decoding and of the networks, which run at the same time.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.decode import Tally
from reelmill.pipeline.extract.batch import Batch
from reelmill.storage import Tables
from reelmill.storage.place import AnyRoot

NEWEST = 20
"""Number of newest measurements of each part that are used: machines change."""

T = TypeVar("T")
Part = tuple[str, float, float]
"""(part, amount, seconds)."""


class Clock:
    """Measures what the time of one extraction is spent on."""

    def __init__(self) -> None:
        self.begin = self.waited = self.cpu = 0.0
        self.frames = 0

    def waiting(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items, and measure the time spent waiting for them."""
        began, first = time.monotonic(), True
        for item in items:
            if first:
                self.begin, first = time.monotonic() - began, False
            else:
                self.waited += time.monotonic() - began
            yield item
            began = time.monotonic()

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Time inside the context counts as `begin`: it is spent once per block of videos, however long they are."""
        began = time.monotonic()
        yield
        self.begin += time.monotonic() - began

    def decoded(self, tally: Tally) -> None:
        """A video was decoded."""
        self.frames += tally.frames
        self.cpu += tally.cpu_seconds

    def parts(self, batches: Sequence[Batch], video_seconds: float, seconds: float) -> list[Part]:
        """Every part of an extraction that took `seconds` in total."""
        networks = [(label(batch.extractor), float(batch.places), batch.seconds) for batch in batches if batch.places]
        rest = seconds - self.begin - self.waited - sum(spent for _, _, spent in networks)
        return [
            *networks, ("decode", float(self.frames), self.cpu), ("wait", video_seconds, self.waited),
            ("begin", 1.0, self.begin), ("rest", video_seconds, max(rest, 0.0)),
        ]  # fmt: skip


def label(extractor: Extractor) -> str:
    """What determines the time of a window: `c3d, bfloat16, 16×112×112×3`."""
    shape = "×".join(map(str, extractor.plan.shape(5000)))
    return f"{extractor.name}, {getattr(extractor, 'precision', 'float32')}, {shape}"


def together(extractors: Sequence[Extractor]) -> str:
    """Extractors that ran together, and their devices: `c3d + vgg19 on cpu`."""
    kinds = {device.type for e in extractors if (device := getattr(e, "device", None)) is not None}
    return f"{' + '.join(sorted(e.name for e in extractors))} on {' + '.join(sorted(kinds)) or 'cpu'}"


def keep(root: AnyRoot, extractors: Sequence[Extractor], parts: Sequence[Part]) -> None:
    """Write the measurements; extractors that processed nothing are left out."""
    ran = {part for part, _, _ in parts}
    among = [extractor for extractor in extractors if label(extractor) in ran]
    now = datetime.fromtimestamp(time.time(), UTC)
    rows: list[Mapping[str, Any]] = [
        {"host": socket.gethostname(), "extractors": together(among), "part": part, "amount": amount,
         "seconds": seconds, "time": now} for part, amount, seconds in parts if among and amount > 0
    ]  # fmt: skip
    Tables(root).write("rates", rows)


@dataclass
class Rates:
    """Seconds per unit of each part."""

    measured: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    """(together, part) → [(amount, seconds), …], the newest last."""
    picture: float | None = None
    """Bytes of a key frame, if a calibration has made some."""

    @classmethod
    def read(cls, root: AnyRoot) -> "Rates":
        """The measurements of this machine."""
        found = cls()
        for row in Tables(root).read("rates").to_pylist():
            if row["host"] == socket.gethostname():
                found.add(row["extractors"], [(row["part"], row["amount"], row["seconds"])])
        return found

    def add(self, ran: str, parts: Sequence[Part]) -> None:
        """Add measurements."""
        for part, amount, seconds in parts:
            if amount > 0:
                self.measured.setdefault((ran, part), []).append((amount, seconds))

    def rate(self, part: str, ran: str | None = None) -> float | None:
        """Seconds per unit, of the extractors `ran`, or of all; None if it was never measured."""
        rows = [row for (there, name), rows in self.measured.items() if name == part and ran in (None, there)
                for row in rows[-NEWEST:]]  # fmt: skip
        amount = sum(amount for amount, _ in rows)
        return sum(seconds for _, seconds in rows) / amount if amount else None

    def seconds(self, ran: str, amounts: Mapping[str, float], workers: int = 1) -> float | None:
        """How long these amounts of each part will take; None if some part was never measured.

        `amounts`: networks by their label, decode, wait, begin, rest. `ran`: the extractors that will run together."""
        networks = {part: amount for part, amount in amounts.items() if part not in ("decode", "wait", "begin", "rest")}
        same = {part: self.rate(part, ran) for part in (*networks, "wait", "begin", "rest")}
        if all(rate is not None for rate in same.values()):
            return sum(amounts[part] * (rate or 0.0) for part, rate in same.items())
        busy = [self.rate(part) for part in networks]
        decode, begin, rest = (self.rate(part) for part in ("decode", "begin", "rest"))
        if None in busy or decode is None or begin is None or rest is None:
            return None
        working = sum(amount * (rate or 0.0) for amount, rate in zip(networks.values(), busy, strict=True))
        working += rest * amounts["rest"]
        return begin * amounts["begin"] + max(working, decode * amounts["decode"] / workers)
