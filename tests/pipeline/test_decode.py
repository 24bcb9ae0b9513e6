"""Measuring a file, cutting its frames into windows, and what is refused before a decoder sees it.

Which frame comes back is the matter of `test_decoders.py`.
"""

from pathlib import Path

import numpy as np
import pytest

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.pipeline.decode import Limits, Scaler, Tally, open_video, read_frames
from reelmill.pipeline.errors import Corrupt, NotFound, NoVideoStream, TooLong, TooManyPixels, Unsupported, VideoError
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.probe import probe
from tests.kinds import ffmpeg
from tests.media import make_video, read_index
from tests.optional import needs

FULL = Geometry(crop=(240, 320), scale_to=(240, 320))
CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"


def everything(path: Path, windows: Windows, segment_ms: int = 1000) -> tuple[list[CutSegment], Tally]:
    facts = probe(path)
    plan = FramePlan(FULL, windows)
    job = CutJob(str(path), facts["start_ms"], facts["duration_ms"], segment_ms, {0: plan}, thumbnail_height=60)
    *segments, tally = cut(job)
    return segments, tally


def test_variable_rate_goes_by_time(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.2, 0.24, 0.9, 1.0, 1.04, 1.96]
    path = make_video(tmp_path / "vfr.mp4", frames=8, times=times)
    assert probe(path)["variable_rate"]
    assert not probe(make_video(tmp_path / "constant.mkv", frames=40, fps=30))["variable_rate"]
    # Four times, 250 ms apart, in each second: the frame shown at 125, 375, 625, 875 ms.
    segments, _ = everything(path, Windows("timed", 4, step_ms=250))
    seen = [[read_index(f) for f in s.cuts[0].values[0]] for s in segments]
    assert seen == [[1, 3, 3, 3], [6, 6, 6, 6], [7, 7, 7, 7]]  # the last frame is on screen until its end


def test_windows_of_a_segment() -> None:
    times = np.arange(50) * 20
    every, padded = Windows("consecutive", 16).choose(times, 0, 1000)
    assert every[:, 0].tolist() == [0, 16, 32]
    assert every[1].tolist() == list(range(16, 32))
    assert not padded.any()
    two, _ = Windows("consecutive", 16, count=2).choose(times, 0, 1000)
    assert two[:, 0].tolist() == [8, 26]  # round(0.5 · 34 / 2), round(1.5 · 34 / 2)
    few, padded = Windows("consecutive", 16).choose(times[:3], 0, 1000)
    assert few.tolist() == [[0, 1, 2] + [2] * 13]
    assert padded.tolist() == [True]
    frames, padded = Windows("timed", 1, step_ms=200).choose(times, 0, 1000)
    assert frames[:, 0].tolist() == [5, 15, 25, 35, 45]
    assert not padded.any()
    short, padded = Windows("timed", 1, step_ms=200).choose(times[:3], 0, 60)
    assert short.tolist() == [[1]]
    assert not padded.any()
    long, padded = Windows("timed", 8, step_ms=100).choose(times[:30], 0, 600)
    assert padded.tolist() == [True]
    assert long[0, -2:].tolist() == [29, 29]


def test_segments_are_half_open_and_the_last_is_short(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    segments, tally = everything(path, Windows("consecutive", 5))
    assert tally.frames == 60
    seen = [[read_index(w[0]) for w in s.cuts[0].values] for s in segments]
    assert seen == [[0, 5, 10, 15, 20], [25, 30, 35, 40, 45], [50, 55]]
    assert segments[2].cuts[0].start_ms.tolist() == [2000, 2200]
    assert segments[2].cuts[0].stop_ms.tolist() == [2200, 2400]
    time_ms, width, height, jpeg = segments[0].picture
    assert (time_ms, width, height) == (480, 80, 60)
    assert jpeg[:2] == b"\xff\xd8"


def test_waiting_scaled_or_not_gives_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    small = Geometry(crop=(112, 112), scale_to=(128, 171))
    job = CutJob(str(path), 0, 2400, 1000, {0: FramePlan(small, Windows("consecutive", 16, count=1))})
    before = [s.cuts[0].values for s in cut(job) if isinstance(s, CutSegment)]
    monkeypatch.setattr("reelmill.pipeline.extract.cut.HELD_BYTES", 1)
    after = [s.cuts[0].values for s in cut(job) if isinstance(s, CutSegment)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert before[0].std() > 10


def test_crop_is_the_centre(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=1)
    with open_video(path, Limits()) as (container, stream):
        ((_, frame), (end, none)) = read_frames(container, stream, 0, Limits(), Tally())
        whole = Scaler(Geometry(crop=(128, 171), scale_to=(128, 171)))(frame)
        centre = Scaler(Geometry(crop=(112, 112), scale_to=(128, 171)))(frame)
    assert (end, none) == (40, None)
    assert np.array_equal(centre, whole[8:120, 29:141])


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    secret = make_video(tmp_path / "secret.mp4", frames=3)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    (tmp_path / "list2.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n")
    (tmp_path / "page.mp4").write_text("<!doctype html><html></html>")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(secret.read_bytes()[:40])
    expected: dict[str, type[VideoError]] = {
        "list.mp4": Unsupported, "list2.mp4": Unsupported, "page.mp4": Unsupported, "empty.mp4": Corrupt,
        "cut.mp4": Corrupt, "none.mp4": NotFound,
    }  # fmt: skip
    for name, error in expected.items():
        with pytest.raises(error, match=name):
            probe(tmp_path / name)


def test_sound_only_has_no_video_stream(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=25, sound=True)
    ffmpeg("-i", tmp_path / "v.mp4", "-vn", "-c", "copy", tmp_path / "sound.mp4")
    with pytest.raises(NoVideoStream):
        probe(tmp_path / "sound.mp4")
    assert probe(tmp_path / "v.mp4")["audio_rate"] == 22_050


def test_limits_come_before_decoding(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    with pytest.raises(TooManyPixels, match="76800"):
        probe(path, Limits(max_pixels=1000))
    with pytest.raises(TooLong, match=r"extract\.max_seconds"):
        probe(path, Limits(max_seconds=2))
    with pytest.raises(TooLong, match="50 frames"):
        list(cut(CutJob(str(path), 0, 2400, 1000, {}, thumbnail_height=60, limits=Limits(max_frames=50))))


@needs("data", CLIPS.exists())
def test_real_clips_have_the_frames_they_should() -> None:
    counts = {"c3d/v_ApplyEyeMakeup_g01_c01.avi": 164, "decord/flipping_a_pancake.mkv": 310, "decord/unordered.mov": 4,
              "decord/corrupted.mp4": 49, "torchcodec/av1_video.mkv": 125, "torchcodec/h265_10bits.mp4": 30,
              "pytorchvideo/archery.mp4": 300}  # fmt: skip
    for name, count in counts.items():
        facts = probe(CLIPS / name)
        job = CutJob(str(CLIPS / name), facts["start_ms"], facts["duration_ms"], 5000, {}, thumbnail_height=9)
        *_, tally = cut(job)
        assert (name, tally.frames) == (name, count)
    rotations = [probe(CLIPS / "decord" / f"video_{turn}.mov")["rotation"] for turn in (0, 90, 180, 270)]
    assert rotations == [0, 270, 180, 90]
