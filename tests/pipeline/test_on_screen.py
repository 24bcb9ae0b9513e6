"""A picture is on screen from its timestamp until the next one's: windows, masks and key frames of files in which one
is held, for every extractor of frames."""

from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from reelmill.extractors.core.frames import FramePlan, Geometry, Windows
from reelmill.extractors.registry import EXTRACTORS, find
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.extract.missing import ExtractOptions, pictured
from reelmill.pipeline.extract.videos import extract
from reelmill.pipeline.probe import probe
from reelmill.storage import Tables, open_store
from reelmill.storage.features import PADDED, VALID
from tests.media import indexed_frame, make_video, read_index
from tests.optional import needs
from tests.pipeline.test_extract import IndexExtractor, video

SHARED = Path(__file__).parents[3] / "shared"
CASES = SHARED / "cases"
FULL = Geometry(crop=(240, 320), scale_to=(240, 320))
SEGMENT_MS = 5000
STILL = [i / 25 for i in range(50)] + [16 + i / 25 for i in range(50)]
"""Motion for 2 s, a still picture (frame 49) for 14 s, motion for 2 s."""
SLIDES = [0.0, 0.7, 7.0, 12.34, 30.0, 30.04]


def plans() -> dict[str, FramePlan]:
    """The default windows of every extractor of frames, on whole frames."""
    found = {}
    for name in EXTRACTORS:
        if find(name).input == "frames":
            module, _, implementation = find(name).implementation.partition(":")
            found[name] = FramePlan(FULL, getattr(import_module(module), implementation).plan.windows)
    return found


def dropped(path: Path, kept: Sequence[int], length: int) -> Path:
    """An AVI of `length` chunks, 25 a second, empty but for the frames `kept`: how capture programs note a frame that
    they dropped, or that has not changed."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25, options={"threads": "1", "g": "10", "q": "3"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in kept:
            frame = av.VideoFrame.from_ndarray(indexed_frame(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if length - 1 not in kept:  # the muxer fills the gap up to here with empty chunks
            empty = av.Packet(b"")
            empty.pts = empty.dts = length - 1
            empty.time_base, empty.stream = Fraction(1, 25), stream
            out.mux(empty)
    return path


def segments_of(path: Path, plans: dict[int, FramePlan], **options: Any) -> dict[int, CutSegment]:
    facts = probe(path)
    job = CutJob(str(path), facts["start_ms"], facts["duration_ms"], SEGMENT_MS, plans, **options)
    *segments, _ = cut(job)
    return {segment.index: segment for segment in segments if isinstance(segment, CutSegment)}


def wanted(windows: Windows, start_ms: int, stop_ms: int) -> np.ndarray:
    """(windows, length): the times whose frames the windows of a segment show, in ms, where frames are chosen by
    time."""
    step = min(windows.step_ms, stop_ms - start_ms) if windows.length == 1 else windows.step_ms
    count = max(1, int((stop_ms - start_ms) / (windows.length * step) + 1e-9))
    return start_ms + (np.arange(count * windows.length).reshape(count, -1) + 0.5) * step


def truth(windows: Windows, shown: list[tuple[float, int]], start: int, stop: int) -> list[list[int]]:
    """The indices that each window of a segment shows. shown: (time in ms, index) of each frame of the video."""
    times = np.array([time for time, _ in shown])
    if windows.kind == "timed":
        at = np.searchsorted(times, wanted(windows, start, stop) + 0.01, side="right") - 1
        return [[shown[number][1] for number in row] for row in at]
    first = max(np.searchsorted(times, start, side="right") - 1, 0)
    seen = [index for _, index in shown[first : np.searchsorted(times, stop)]]
    if len(seen) < windows.length:
        return [[*seen, *[seen[-1]] * (windows.length - len(seen))]]
    return [seen[i : i + windows.length] for i in range(0, len(seen) - windows.length + 1, windows.length)]


FILES = {
    "still.mp4": STILL, "still.mkv": STILL, "slides.mkv": SLIDES, "slides.mp4": SLIDES, "slides.flv": SLIDES,
    "still.webm": STILL,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_window_shows_what_was_on_screen(tmp_path: Path, name: str) -> None:
    codec = {"codec": "libvpx"} if name.endswith("webm") else {}
    path = make_video(tmp_path / name, len(FILES[name]), times=FILES[name], **codec)  # type: ignore[arg-type]
    check(path, [(round(1000 * time), index) for index, time in enumerate(FILES[name])])


@pytest.mark.parametrize(("kept", "length"), [
    ([*range(75), *range(225, 300)], 300),  # empty in the middle: 3 to 9 s show frame 74
    ([0, *range(130, 140)], 300),  # and at the end: 5.56 to 12 s show frame 139
])  # fmt: skip
def test_empty_chunks_of_an_avi_hold_the_frame_before(tmp_path: Path, kept: list[int], length: int) -> None:
    path = dropped(tmp_path / "dropped.avi", kept, length)
    assert probe(path)["duration_ms"] == 40 * length
    check(path, [(40 * index, index) for index in kept])


@pytest.mark.parametrize("share", [0.35, 0.6, 0.93])
def test_a_cut_avi_ends_with_its_bytes(tmp_path: Path, share: float) -> None:
    """Its header counts the frames that were lost, too; they are no empty chunks."""
    path = make_video(tmp_path / "cut.avi", 40, size=(96, 64), codec="mjpeg", pix_fmt="yuvj420p")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    facts = probe(path)
    assert 5 < facts["frame_count"] < 40
    assert facts["duration_ms"] == 40 * facts["frame_count"]


@needs("data", CASES.exists())
@pytest.mark.parametrize(("name", "shown"), [
    ("screenrec.mp4", [(40 * i, i) for i in range(50)] + [(16_000 + 40 * i, 50 + i) for i in range(50)]),
    ("dropped.avi", [(40 * i, i) for i in (*range(75), *range(225, 300))]),
])  # fmt: skip
def test_the_cases_of_the_list(name: str, shown: list[tuple[float, int]]) -> None:
    check(CASES / name, shown)


def check(path: Path, shown: list[tuple[float, int]]) -> None:
    """Every window of every extractor against the truth, and the key frames."""
    duration = probe(path)["duration_ms"]
    every = plans()
    assert {"c3d", "i3d", "i3d_r50", "vgg19"} <= set(every)
    segments = segments_of(path, dict(enumerate(every.values())), thumbnail_height=240)
    assert sorted(segments) == list(range(-(-duration // SEGMENT_MS)))
    times = np.array([time for time, _ in shown])
    for index, segment in segments.items():
        start, stop = index * SEGMENT_MS, min((index + 1) * SEGMENT_MS, duration)
        for number, (extractor, plan) in enumerate(every.items()):
            seen = segment.cuts[number]
            told = [[read_index(frame) for frame in window] for window in seen.values]
            assert (index, extractor, told) == (index, extractor, truth(plan.windows, shown, start, stop))
            assert ((start <= seen.start_ms) & (seen.start_ms < seen.stop_ms) & (seen.stop_ms <= stop)).all()
            held = [index for time, index in shown if time < start][-1:]
            still = [bool(held) and set(window) == set(held) for window in told]
            assert seen.padded[still].all(), "it shows nothing but a frame from before the segment"
        time_ms, _, _, jpeg = segment.picture or (0, 0, 0, b"")
        middle = np.searchsorted(times, (start + stop) // 2, side="right") - 1
        assert time_ms == max(shown[middle][0], start)
        assert read_index(np.array(Image.open(BytesIO(jpeg)).convert("RGB"))) == shown[middle][1]


def test_masks_say_where_a_picture_is_held(tmp_path: Path) -> None:
    """Of the segments of still.mp4 the two in the middle show frame 49 alone; no row is without data."""
    path = make_video(tmp_path / "still.mp4", 100, times=STILL)
    one = IndexExtractor("one", Windows("timed", 1, step_ms=1000))
    many = IndexExtractor("many", Windows("consecutive", 16))
    assert extract(str(tmp_path), [video(path)], [one, many], ExtractOptions()).failed == {}
    seen = open_store(tmp_path, "one-first").read("still.mp4")
    assert seen.features[:, 0].tolist() == pytest.approx([(12 + 37 + 49 * 3) / 5, 49, 49, (49 + 62 + 87) / 3])
    assert seen.mask.tolist() == [VALID, PADDED, PADDED, PADDED]
    seen = open_store(tmp_path, "many-first").read("still.mp4")
    assert seen.features[:, 0].tolist() == [16, 49, 49, 16 * 1.5 + 41]  # 0, 16, 32; 49; 49; 49, 65, 81
    assert seen.mask.tolist() == [VALID, PADDED, PADDED, VALID]
    pictures = Tables(tmp_path).read("frames").sort_by("segment_index")
    assert pictures["time_ms"].to_pylist() == [1960, 5000, 10_000, 16_480]
    assert pictured(tmp_path, SEGMENT_MS) == {"still.mp4"}, "the pictures would be made again by every run"


def test_freed_frames_of_a_held_picture_give_the_same_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "slides.mkv", len(SLIDES), times=SLIDES)
    every = dict(enumerate(plans().values()))
    before = segments_of(path, every, thumbnail_height=60)
    monkeypatch.setattr("reelmill.pipeline.extract.cut.HELD_BYTES", 1)
    after = segments_of(path, every, thumbnail_height=60)
    assert sorted(before) == sorted(after)
    for index, segment in before.items():
        assert segment.picture == after[index].picture
        assert all(np.array_equal(segment.cuts[n].values, after[index].cuts[n].values) for n in every)


def test_nothing_is_shown_before_the_first_frame_that_can_be_decoded(tmp_path: Path) -> None:
    """A recording that was begun in the middle of a group of pictures: its first second cannot be decoded."""
    whole = make_video(tmp_path / "whole.ts", 125, options={"g": "50", "bf": "0", "sc_threshold": "0"})
    with av.open(str(whole)) as source:
        starts = [packet.pos for packet in source.demux(video=0) if packet.size]
    data = whole.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data[: 188 * 3] + data[starts[25] :])
    plan = FramePlan(FULL, Windows("timed", 1, step_ms=500))
    facts = probe(path)
    seen = segments_of(path, {0: plan})[0].cuts[0]
    found = dict(zip(seen.start_ms.tolist(), [read_index(window[0]) for window in seen.values], strict=True))
    assert found, facts
    assert all(index == 25 + time // 40 for time, index in found.items())
    assert (min(found), len(found)) == (1240, 6)  # at 1250 ms; there is nothing to show at 250 and 750 ms
    assert not seen.padded.any()


def test_a_frame_that_cannot_be_decoded_is_padded_and_a_segment_without_any_is_no_data(tmp_path: Path) -> None:
    """Raw pictures of an AVI, so that each fails alone: frame 3 in the first segment, and every frame of the third."""
    path = make_video(tmp_path / "raw.avi", 40, size=(96, 64), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as source:
        packets = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    for number in (3, *range(20, 30)):
        place = data.index(b"\xff\xd8", packets[number][0])
        data[place : place + packets[number][1]] = bytes(packets[number][1])
    path.write_bytes(data)
    facts = probe(path)
    plan = FramePlan(Geometry(crop=(64, 96), scale_to=(64, 96)), Windows("timed", 5, step_ms=40.0))
    *segments, tally = cut(CutJob(str(path), 0, facts["duration_ms"], 400, {0: plan}))
    assert tally.errors == 11
    told = {s.index: [[read_index(f) for f in w] for w in s.cuts[0].values] for s in segments}
    assert told == {0: [[0, 1, 2, 2, 4], [5, 6, 7, 8, 9]], 1: [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]],
                    3: [[30, 31, 32, 33, 34], [35, 36, 37, 38, 39]]}  # fmt: skip
    assert [s.cuts[0].padded.tolist() for s in segments] == [[True, False], [False, False], [False, False]]
