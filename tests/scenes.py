"""Windows of rendered and decoded scenes, as a network gets them: what the numbers of precision are measured on."""

from pathlib import Path

import numpy as np

from reelmill.extractors.core.network import FrameNetwork
from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.demo.corpus import CorpusPlan, frames
from reelmill.pipeline.demo.planted import planted_videos
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.extract.missing import Video
from reelmill.pipeline.probe import probe

PLAN = CorpusPlan(videos=6, new_videos=1, segments=(4, 4), segment_ms=2400, size=(224, 128))
"""Every taste is shown; a segment is long enough for any network's window."""


def write_scenes(folder: Path, count: int) -> list[Video]:
    """The first videos of the plan, without sound: four segments each."""
    videos = []
    for number, planted in enumerate(planted_videos(PLAN)[:count]):
        path = write_video(folder / f"{planted.video_id}.mp4", frames(PLAN, number), PLAN.fps, None, PLAN.rate)
        facts = probe(path)
        videos.append(Video(planted.video_id, str(path), facts["sha256"], facts["start_ms"], facts["duration_ms"]))
    return videos


def seen_by(network: FrameNetwork, videos: list[Video]) -> np.ndarray:
    """(4 · videos, length, height, width, 3) uint8: the first window of each segment."""
    windows = []
    for video in videos:
        job = CutJob(video.path, video.start_ms, video.duration_ms, PLAN.segment_ms, {0: network.plan})
        windows += [message.cuts[0].values[0] for message in cut(job) if isinstance(message, CutSegment)]
    return np.stack(windows)


def in_batches(network: FrameNetwork, windows: np.ndarray) -> dict[str, np.ndarray]:
    """{layer: (windows, dim)}; the number of windows is a multiple of the batch."""
    parts = [network.forward(windows[i : i + network.batch_size]) for i in range(0, len(windows), network.batch_size)]
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in network.layers}
