"""The frames of every window of every extractor against torchcodec's `get_frame_played_at` and
`get_frames_played_in_range` at the same times, on real clips: by timestamps, and by the hash of the decoded picture.

Where they differ, and why:

    Matroska    durations are rounded to 1 ms as timestamps are; if a frame ends 1 ms before the next one begins,
                torchcodec shows the next one in that millisecond, we the one before
    AVI         has no presentation times; those that FFmpeg guesses begin late by the frames that the decoder holds
                back. Times count from the first frame, and pictures alone are compared. torchcodec rounds the
                time that it is asked for to the nearest tick, which is a whole frame here: it is asked for the last
                tick at or before the time. v_ApplyEyeMakeup, with
                B-frames, is left out: at 0.04 s torchcodec plays frame 0, in the range from 0.04 s it begins with
                frame 1, so it cannot be compared
    10 bits     torchcodec makes other 8-bit colours of them than swscale: timestamps alone are compared
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelmill.extractors.core.frames import Windows
from reelmill.pipeline.decode import Frame, Limits, open_video, quarter_turns
from reelmill.pipeline.decode.timeline import exact_start
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.probe import probe
from tests.matrix import process
from tests.optional import need, needs
from tests.pipeline.test_on_screen import plans, wanted

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
SEGMENT_MS = 5000
TICK_S = 0.001
"""Of Matroska."""

Shown = tuple[float, bytes]
"""Time in the file (seconds), and hash of the decoded picture."""


class Fingerprint:
    """In place of the scaler: time and hash of a frame, as pixels."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, frame: Frame) -> np.ndarray:
        assert frame.time is not None
        picture = np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns(frame))
        told = np.float64(frame.time).tobytes() + hashlib.sha256(picture.tobytes()).digest()
        pixels = np.zeros((240, 320, 3), np.uint8)
        pixels.flat[: len(told)] = np.frombuffer(told, np.uint8)
        return pixels


def read(pixels: np.ndarray) -> Shown:
    told = pixels.ravel()[:40].tobytes()
    return float(np.frombuffer(told[:8])[0]), told[8:]


def played(job: tuple[str, int, float | None, list[tuple[float, float] | float]]) -> Iterator[list[Shown]]:
    """Target for a child process: for each time the frame that torchcodec shows, for each range all of them. The times
    count from `start`, or from the first frame."""
    from torchcodec.decoders import VideoDecoder

    path, stream, start, asked = job
    decoder = VideoDecoder(path, stream_index=stream, dimension_order="NHWC", num_ffmpeg_threads=1)
    if start is None:
        start = decoder.metadata.begin_stream_seconds_from_content
    for time in asked:
        if isinstance(time, tuple):
            batch = decoder.get_frames_played_in_range(*(start + edge for edge in time))
            found = list(zip(batch.pts_seconds.tolist(), batch.data, strict=True))
        else:
            frame = decoder.get_frame_played_at(start + time)
            found = [(frame.pts_seconds, frame.data)]
        yield [(pts, hashlib.sha256(data.numpy().tobytes()).digest()) for pts, data in found]


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with process("torchcodec", "tests.pipeline.test_played:played", tmp_path_factory.mktemp("torchcodec")) as child:
        need("torchcodec", child is not None)
        yield child


def chosen(path: Path, windows: dict[str, Windows], monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], Any]:
    """{(extractor, segment): for each window the frames that it shows}."""
    monkeypatch.setattr("reelmill.pipeline.extract.cut.Scaler", Fingerprint)
    facts = probe(path)
    job = CutJob(str(path), facts["start_ms"], facts["duration_ms"], SEGMENT_MS, dict(enumerate(plans().values())))
    names = list(windows)
    return {
        (names[number], segment.index): [[read(frame) for frame in window] for window in seen.values]
        for segment in cut(job)
        if isinstance(segment, CutSegment)
        for number, seen in segment.cuts.items()
    }


@pytest.mark.optional
@needs("data", CLIPS.exists())
@pytest.mark.parametrize("name", [
    "c3d/v_BaseballPitch_g01_c01.avi", "decord/flipping_a_pancake.mkv",
    "decord/unordered.mov", "decord/video_0.mov", "decord/video_90.mov", "pytorchvideo/archery.mp4",
    "torchcodec/av1_video.mkv", "torchcodec/h264_10bits.mp4", "torchcodec/h265_10bits.mp4",
    "torchcodec/h265_video.mp4", "torchcodec/nasa_13013.mp4",
])  # fmt: skip
def test_windows_show_what_torchcodec_plays(name: str, child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, windows = CLIPS / name, {extractor: plan.windows for extractor, plan in plans().items()}
    ours = chosen(path, windows, monkeypatch)
    facts = probe(path)
    with open_video(path, Limits()) as (_, stream):
        number, tick = stream.index, float(stream.time_base or 0)
        start = None if path.suffix == ".avi" else exact_start(stream, facts["start_ms"] / 1000)
    compared = 0
    for (extractor, segment), seen in ours.items():
        begin, end = segment * SEGMENT_MS, min((segment + 1) * SEGMENT_MS, facts["duration_ms"])
        last = min(end, facts["duration_ms"] - 0.5)
        one = windows[extractor]
        if one.kind == "timed":
            times = (np.minimum(wanted(one, begin, end), last).ravel() / 1000).tolist()
            if path.suffix == ".avi":
                times = [np.floor(time / tick + 1e-6) * tick for time in times]
            theirs = [found for (found,) in child.run((str(path), number, start, times), 120)]
            expected = [theirs[i : i + one.length] for i in range(0, len(theirs), one.length)]
        else:
            (theirs,) = child.run((str(path), number, start, [(begin / 1000, last / 1000)]), 120)
            times = [time - (start or 0.0) for time, _ in theirs]
            theirs += theirs[-1:] * (one.length - len(theirs))
            expected = [theirs[i : i + one.length] for i in range(0, len(theirs) - one.length + 1, one.length)]
        assert len(seen) == len(expected)
        pairs = zip([frame for row in seen for frame in row], [frame for row in expected for frame in row], strict=True)
        for place, ((time, picture), (their_time, their_picture)) in enumerate(pairs):
            at = (extractor, segment, place)
            compared += 1
            if path.suffix == ".mkv" and time != their_time:
                assert 0 <= their_time - (start or 0.0) - times[place] <= TICK_S, at
                continue
            if path.suffix != ".avi":
                assert (at, time) == (at, pytest.approx(their_time, abs=1e-6))
            if "10bits" not in path.name:
                assert (at, picture) == (at, their_picture)
    assert compared >= 3
