"""A run with nothing to do beside `status`, on the demo's root: `python -m tests.benchmarks quick`.

Both commands take turns. `DEMO=folder`: that which `reelmill demo` made there; otherwise one is made first.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROUNDS = 5


def main() -> None:
    """Seconds of both, the median of each, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(os.environ.get("DEMO") or Path(folder) / "demo").resolve()
        _reelmill("demo", "--folder", str(demo))
        settings = Path(folder) / "settings.yaml"
        settings.write_text(_settings(demo))
        run, status = ("run", str(settings)), ("status", "--root", str(demo / "planted"))
        _reelmill(*run)  # what is asked for the first time is remembered for the next
        took: dict[tuple[str, ...], list[float]] = {verb: [] for verb in (run, status)}
        for _ in range(ROUNDS):
            for verb, seconds in took.items():
                began = time.monotonic()
                _reelmill(*verb)
                seconds.append(time.monotonic() - began)
    print("\n| command | seconds | median |\n|---|---|---|")
    for verb, seconds in took.items():
        print(f"| {verb[0]} | {', '.join(f'{s:.2f}' for s in seconds)} | {statistics.median(seconds):.2f} |")
    ratio = statistics.median(took[run]) / statistics.median(took[status])
    print(f"\na run with nothing to do takes {ratio:.2f} × `status`; at most 3 is the promise")


def _settings(demo: Path) -> str:
    """The demo's own settings as a file, for a source that nobody serves any more: nothing is downloaded."""
    from reelmill.flows.jobs.demo import settings_of

    settings = settings_of(demo, "http://127.0.0.1:9")
    return yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True))


def _reelmill(*arguments: str) -> None:
    code = "from reelmill.flows.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
