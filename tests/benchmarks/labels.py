"""From a CSV of PHD²'s size to labels: read it, write the source, write segments and labels, from claimed durations.

Each run is a process of its own, for its peak memory. `python -m tests.benchmarks.labels`
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

RECORDS, VIDEOS, USERS, MEAN_SECONDS = 225_015, 119_938, 13_822, 334


def make_file(path: Path, rng: np.random.Generator) -> None:
    """A CSV with PHD²'s columns, its number of records and videos, and about 8 million segments of 5 s."""
    video = np.concatenate([np.arange(VIDEOS), rng.integers(0, VIDEOS, RECORDS - VIDEOS)])
    video_duration = np.maximum(rng.gamma(1.5, MEAN_SECONDS / 1.5, VIDEOS).round(), 1)
    video_duration[rng.random(VIDEOS) < 0.01] = -1
    length = np.maximum(rng.lognormal(1.5, 0.7, RECORDS).round(2), 0.1)
    start = (rng.random(RECORDS) * np.maximum(video_duration[video], 30)).round(2)
    ids = pc.utf8_slice_codeunits(pa.array([f"{n:011x}" for n in rng.integers(0, 1 << 44, VIDEOS)]), 0, 11)
    columns = {
        "youtubeId": ids.take(pa.array(video)),
        "start": start,
        "duration": length,
        "user_id": np.sort(rng.integers(0, USERS, RECORDS)),
        "video_duration": video_duration[video],
        "is_last": np.where(rng.random(RECORDS) < 0.1, "True", "False"),
    }
    pyarrow.csv.write_csv(pa.table(columns), path, pyarrow.csv.WriteOptions(quoting_style="none"))


def run(path: Path, root: Path) -> dict[str, float]:
    """The whole way, timed stage by stage."""
    from reelmill.pipeline import sources
    from reelmill.pipeline.labels import write_labels

    marks = [time.perf_counter()]
    result = sources.read(path, "phd2")
    marks.append(time.perf_counter())
    sources.write_source(root, result)
    marks.append(time.perf_counter())
    counts = write_labels(root)
    marks.append(time.perf_counter())
    read_s, write_s, label_s = np.diff(marks)
    # Not getrusage: its peak starts with that of the process that started this one.
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    peak = int(peak_kib) / 2**20
    return {"segments": counts.segments, "labels": counts.labels, "written": counts.written,
            "read_s": read_s, "write_s": write_s, "label_s": label_s, "peak_gib": peak}  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| run | records | segments | labels | read s | write source s | write labels s | peak GiB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path, root = Path(folder, "phd2.csv"), Path(folder, "root")
        make_file(path, np.random.default_rng(0))
        for name in ("first", "again"):
            command = [sys.executable, "-m", "tests.benchmarks.labels", str(path), str(root)]
            child = subprocess.run(command, check=True, capture_output=True, text=True)
            got = json.loads(child.stdout)
            print(f"| {name} | {RECORDS:,} | {got['segments']:,} | {got['labels']:,} | {got['read_s']:.1f} | "
                  f"{got['write_s']:.1f} | {got['label_s']:.1f} | {got['peak_gib']:.2f} |")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]))))
    else:
        main()
