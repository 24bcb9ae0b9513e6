"""Benchmarks. Each module has a `main()` that prints tables; `python -m tests.benchmarks [name …]` runs them.

A figure is only comparable with others of the same table: competitors take turns within one run (`interleaved`).
"""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "h5py", "pyarrow", "torch", "av")


def machine() -> str:
    """Processor, cores, memory and versions that the figures depend on."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    cpu = names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{cpu}, {cores} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}, {packages}"
    )


def interleaved(
    methods: Mapping[str, Callable[[Any], object]], draw: Callable[[], Any], rounds: int = 60, limit_s: float = 20.0
) -> dict[str, float]:
    """Median milliseconds of each method. They take turns in changing order; each call gets an argument of its own,
    drawn anew, so that nobody finds what another one left in the processor's cache. A method that has used up
    `limit_s` drops out."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(methods), len(methods)):
            if sum(times[name]) < limit_s:
                argument = draw()
                began = time.perf_counter()
                methods[name](argument)
                times[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers to three digits."""
    texts = [list(head), *([f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    print(f"\n{title}")
    for number, row in enumerate(texts):
        first, *rest = (
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))
        if number == 0:
            print("  ".join("-" * w for w in widths))
