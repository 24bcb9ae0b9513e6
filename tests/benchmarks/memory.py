"""Peak resident memory on a three-hour 360p video, three extractors at once, one window a segment each.

The video is a minute of H.264, copied 180 times without encoding. What counts is the sum over the extracting process
and its decoding process, sampled five times a second: shared pages count twice, so it is an upper bound.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from reelmill.pipeline.decode.render import write_video

HOURS, FPS = 3, 25
RUN = """
import sys
from reelmill.extractors.registry import build
from reelmill.pipeline.extract.videos import ExtractOptions, Video, extract
from reelmill.pipeline.probe import probe
path, root = sys.argv[1:]
facts = probe(path)
networks = [build(name, weights="random", windows=1) for name in ("c3d", "i3d_r50", "vgg19")]
video = Video("long", path, facts["sha256"], facts["start_ms"], facts["duration_ms"])
done = extract(root, [video], networks, ExtractOptions())
assert not done.failed, done.failed
print(done.segments, done.video_seconds, done.seconds)
"""


def long_video(folder: Path) -> Path:
    """A minute of a drifting texture, over and over."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (45, 80, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    frames = (np.roll(texture, 3 * t, axis=1) for t in range(60 * FPS))
    minute = write_video(folder / "minute.mp4", frames, FPS, None, 22_050)
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-stream_loop", str(60 * HOURS - 1), "-i", minute, "-c", "copy"]
    subprocess.run([*command, folder / "long.mp4"], check=True)
    return folder / "long.mp4"


def resident(pid: int) -> dict[int, int]:
    """Bytes resident now of a process and its children, by process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if int(folder.name) == pid or parent == pid:
                found[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * 4096
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
    return found


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = long_video(Path(folder))
        command = [sys.executable, "-c", RUN, str(path), f"{folder}/root"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        total = own = 0
        while run.poll() is None:
            now = resident(run.pid)
            total, own = max(total, sum(now.values())), max(own, now.get(run.pid, 0))
            time.sleep(0.2)
        assert run.stdout is not None
        if run.returncode:
            raise SystemExit(f"the extraction ended with exit code {run.returncode}")
        segments, length, seconds = run.stdout.read().split()
    print(f"{float(length) / 3600:.1f} hours of 640 × 360, {segments} segments, in {float(seconds):.0f} s\n")
    print("| | peak resident memory |")
    print("|---|---|")
    print(f"| extraction and decoding together | {total / 2**30:.2f} GiB |")
    print(f"| the extracting process alone | {own / 2**30:.2f} GiB |")


if __name__ == "__main__":
    main()
