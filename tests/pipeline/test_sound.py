"""Which samples of the sound land in which window: by timestamp, on the clock of the picture."""

import tracemalloc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Limits, Tally
from reelmill.pipeline.decode.sound import read_sound
from reelmill.pipeline.errors import Corrupt
from reelmill.pipeline.extract.cut import CutJob, CutSegment, CutWindows, cut
from reelmill.pipeline.probe import probe
from tests.media import make_video
from tests.sounds import click_times, clicks, sound_packets, spoil, write_sound

RATE = 22_050
SECONDS = SoundPlan(RATE, least=2048)
PARTS = SoundPlan(RATE, least=1024, parts=32)


def listen(
    path: Path, plan: SoundPlan = SECONDS, segment_ms: int = 1000, duration_ms: int | None = None
) -> tuple[dict[int, CutWindows], Tally]:
    """The windows by segment, and the tally; the job wants nothing else."""
    facts = probe(path)
    job = CutJob(str(path), facts["start_ms"], duration_ms or facts["duration_ms"], segment_ms, {3: plan})
    *segments, tally = cut(job)
    assert isinstance(tally, Tally)
    assert all(isinstance(segment, CutSegment) and list(segment.cuts) == [3] for segment in segments)
    return {segment.index: segment.cuts[3] for segment in segments}, tally


def lacking(cut: CutWindows) -> tuple[int, int]:
    """How many samples of a window are no sound, and how many are beyond its end."""
    return int(np.isnan(cut.values).sum()), int(np.isposinf(cut.values).sum())


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.mp4", "aac", 44_100, "mono"),
        ("a.mp4", "aac", 22_050, "mono"),
        ("a.mp4", "aac", 48_000, "stereo"),
        ("a.mkv", "libopus", 48_000, "stereo"),
        ("a.webm", "libopus", 48_000, "mono"),
        ("a.mkv", "libmp3lame", 44_100, "stereo"),
        ("a.avi", "pcm_s16le", 8_000, "mono"),
        ("a.mov", "pcm_s16le", 48_000, "stereo"),
        ("a.ts", "aac", 44_100, "stereo"),
    ],
)
def test_a_click_lands_where_it_was_heard(tmp_path: Path, name: str, codec: str, rate: int, layout: str) -> None:
    found, tally = listen(write_sound(tmp_path / name, codec=codec, rate=rate, layout=layout))
    assert sorted(found) == list(range(6))
    for second, window in found.items():
        assert window.values.shape == (1, RATE)
        assert window.values.dtype == np.float32
        assert click_times(window.values[0], RATE) == [pytest.approx((second + 1) / 10, abs=0.004)]
        assert (window.start_ms.tolist(), window.stop_ms.tolist()) == ([1000 * second], [1000 * second + 1000])
        assert window.padded.tolist() == [bool(lacking(window)[0])]
    assert not any(found[second].padded[0] for second in range(1, 5))
    assert (tally.frames, tally.sound_errors) == (0, 0)  # the picture was not decoded
    assert tally.sound_seconds == pytest.approx(6, abs=0.1)


def test_samples_are_exact_where_nothing_is_resampled(tmp_path: Path) -> None:
    found, _ = listen(write_sound(tmp_path / "a.avi"))
    heard = np.concatenate([found[second].values[0] for second in range(6)])
    np.testing.assert_allclose(heard, clicks(np.arange(6 * RATE) / RATE), atol=1 / 32_000)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_that_starts_late_and_ends_early(tmp_path: Path, name: str) -> None:
    codec = "aac" if name.endswith("mp4") else "pcm_s16le"
    found, _ = listen(write_sound(tmp_path / name, codec=codec, spans=[(1.5, 3.25)]))
    assert sorted(found) == [1, 2, 3]  # others have no sample: no window
    assert [found[second].padded.tolist() for second in (1, 2, 3)] == [[True], [False], [True]]
    assert lacking(found[1])[0] == pytest.approx(0.5 * RATE, abs=0.05 * RATE)
    assert lacking(found[3])[0] == pytest.approx(0.75 * RATE, abs=0.05 * RATE)
    assert np.isnan(found[1].values[0, : int(0.45 * RATE)]).all()
    assert click_times(found[2].values[0], RATE) == [pytest.approx(0.3, abs=0.004)]


def test_sound_that_starts_before_the_picture_and_outlasts_it(tmp_path: Path) -> None:
    """The first frame is shown at 1.5 s of the file's clock: that is 0."""
    path = write_sound(tmp_path / "a.mkv", seconds=3, picture_from=1.5, spans=[(0, 8)])
    assert probe(path)["start_ms"] == 1500
    found, tally = listen(path)
    assert sorted(found) == [0, 1, 2]
    assert not any(window.padded[0] for window in found.values())
    heard = np.concatenate([found[second].values[0] for second in range(3)])
    assert click_times(heard, RATE) == pytest.approx([2.3 - 1.5, 3.4 - 1.5], abs=0.002)
    assert tally.sound_seconds < 5  # nothing is read far beyond the end


def test_a_gap_stays_a_gap(tmp_path: Path) -> None:
    found, _ = listen(write_sound(tmp_path / "a.mkv", spans=[(0, 1.5), (1.53, 2.25), (4.125, 6)]))
    assert sorted(found) == [0, 1, 2, 4, 5]
    samples = found[1].values[0]
    assert np.flatnonzero(np.isnan(samples))[[0, -1]] / RATE == pytest.approx([0.5, 0.53], abs=0.002)
    assert np.isnan(found[2].values[0, int(0.252 * RATE) :]).all()
    assert [found[second].padded[0] for second in (0, 1, 2, 4, 5)] == [False, True, True, True, False]
    for second in (0, 1, 4, 5):
        assert click_times(found[second].values[0], RATE) == [pytest.approx((second + 1) / 10, abs=0.002)]


def test_rounded_timestamps_leave_no_holes(tmp_path: Path) -> None:
    """Matroska rounds to 1 ms; a frame of MP3 lasts 26.122 ms."""
    found, _ = listen(write_sound(tmp_path / "a.mkv", codec="libmp3lame", rate=44_100), segment_ms=5000)
    assert lacking(found[0]) == (0, 0)


def test_the_last_window_ends_with_the_video(tmp_path: Path) -> None:
    found, _ = listen(write_sound(tmp_path / "a.mkv", seconds=2.5))
    assert lacking(found[2]) == (0, RATE // 2)
    assert (found[2].stop_ms[0], found[2].padded[0]) == (2500, False)
    found, _ = listen(tmp_path / "a.mkv", duration_ms=2050)
    assert found[2].padded[0]  # 1102 samples, fewer than one spectrum takes
    assert lacking(found[2]) == (0, RATE - 1103)


def test_no_sound_gives_no_window(tmp_path: Path) -> None:
    found, tally = listen(make_video(tmp_path / "silent.mp4", frames=25))
    assert (found, tally.sound_seconds, tally.sound_errors) == ({}, 0, 0)


def test_spoilt_packets_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4", codec="aac", rate=44_100)
    packets = sound_packets(path)
    spoil(path, packets[65:75])  # from 1.49 to 1.72 s
    found, tally = listen(path)
    assert tally.sound_errors == 10
    assert [lacking(found[second])[0] for second in range(6)] == [0, 10 * 1024 / 2, 0, 0, 0, 0]  # half the rate
    for second in range(6):
        assert click_times(found[second].values[0], RATE) == [pytest.approx((second + 1) / 10, abs=0.004)]
    spoil(path, packets)
    found, tally = listen(path)
    assert (found, tally.sound_errors, tally.sound_seconds) == ({}, len(packets), 0)


def test_an_unknown_codec_is_no_sound(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mkv", codec="libmp3lame", rate=44_100)
    path.write_bytes(path.read_bytes().replace(b"A_MPEG/L3", b"A_MPEG/X9"))
    assert probe(path)["audio_rate"] is None
    found, tally = listen(path)
    assert (found, tally.sound_seconds, tally.sound_errors) == ({}, 0, 1)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/ASP", b"V_MPEG4/ISO/XXX"))
    with pytest.raises(Corrupt, match="no known codec"):
        probe(path)


def test_channels_are_averaged(tmp_path: Path) -> None:
    """The same sound on all channels is that of one channel; opposite ones are silence."""
    mono, both, opposite, eight = (
        listen(write_sound(tmp_path / f"{i}.mkv", layout=layout, right=right))[0][1].values
        for i, (layout, right) in enumerate([("mono", 1.0), ("stereo", 1.0), ("stereo", -1.0), ("7.1", 1.0)])
    )
    np.testing.assert_array_equal(mono, both)
    np.testing.assert_array_equal(mono, eight)
    assert np.abs(opposite).max() < 1e-4


def test_damaged_numbers_are_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_sound(path, codec="pcm_f32le")
    packets = sound_packets(path)
    data = bytearray(path.read_bytes())
    middle = sum(packets[60]) - 2000
    data[middle : middle + 400] = np.full(100, np.nan, np.float32).tobytes()
    path.write_bytes(data)
    found, _ = listen(path)
    assert 90 <= sum(lacking(window)[0] for window in found.values()) <= 110
    assert not any(np.isinf(window.values).any() for window in found.values())


def test_parts_of_a_short_video_are_whole(tmp_path: Path) -> None:
    found, _ = listen(write_sound(tmp_path / "a.avi"), PARTS)
    assert sorted(found) == [0]
    window = found[0]
    assert window.values.shape == (1, 32, 5 * RATE)
    assert (window.start_ms[0], window.stop_ms[0], window.padded[0]) == (0, 6000, False)
    rows = [row[np.isfinite(row)] for row in window.values[0]]
    np.testing.assert_allclose(np.concatenate(rows), clicks(np.arange(6 * RATE) / RATE), atol=1 / 32_000)
    assert {len(row) for row in rows} == {6 * RATE // 32, 6 * RATE // 32 + 1}  # 4134.4 each


def test_of_a_long_part_the_middle_is_taken() -> None:
    (cell,) = PARTS.cells(duration_ms=320_000, segment_ms=5000)
    assert (cell.segment, cell.start_ms, cell.stop_ms) == (0, 0, 320_000)
    for part, (start, stop) in enumerate(cell.samples):
        assert stop - start == 5 * RATE
        assert start / RATE == pytest.approx(10 * part + 2.5, abs=1 / RATE)


@pytest.mark.parametrize("duration_ms", [1, 40, 999, 5000, 160_001, 7_000_123])
@pytest.mark.parametrize("segment_ms", [100, 333, 5000])
def test_cells_fit_their_windows(duration_ms: int, segment_ms: int) -> None:
    cells = list(SECONDS.cells(duration_ms, segment_ms))
    assert [cell.segment for cell in cells] == list(range(-(-duration_ms // segment_ms)))
    edges = [cell.samples[0] for cell in cells]
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert (edges[0][0], edges[-1][1]) == (0, -(-duration_ms * RATE // 1000))
    assert max(stop - start for start, stop in edges) <= SECONDS.shape(segment_ms)[0]
    (cell,) = PARTS.cells(duration_ms, segment_ms)
    assert len(cell.samples) == 32
    assert all(0 <= stop - start <= PARTS.shape()[1] for start, stop in cell.samples)
    assert all(before[1] <= after[0] for before, after in pairwise(cell.samples))


def test_plans_share_one_pass(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.avi")
    other = SoundPlan(8_000, least=1)
    *segments, tally = cut(CutJob(str(path), 0, 6000, 2000, {0: PARTS, 1: SECONDS, 2: PARTS, 5: other}))
    assert isinstance(tally, Tally)
    cuts = [(s.index, sorted(s.cuts)) for s in segments if isinstance(s, CutSegment)]
    assert sorted(cuts) == [(0, [0, 2]), (0, [1]), (0, [5]), (1, [1]), (1, [5]), (2, [1]), (2, [5])]
    both = next(s.cuts for s in segments if isinstance(s, CutSegment) and 0 in s.cuts)
    assert both[0] is both[2]


def test_samples_come_in_order_and_once(tmp_path: Path) -> None:
    """Also where timestamps go back, as in two recordings one behind the other: the second one follows the first."""
    short, long = (write_sound(tmp_path / f"{end}.ts", codec="aac", spans=[(0, end)]) for end in (2.05, 4.05))
    start_ms = probe(short)["start_ms"]
    (tmp_path / "both.ts").write_bytes(short.read_bytes() + long.read_bytes())
    reached, heard = 0, np.zeros(12 * RATE, np.float32)
    for first, samples in read_sound(tmp_path / "both.ts", start_ms, RATE, Limits(), Tally()):
        assert first >= reached
        reached = first + len(samples)
        heard[first:reached] = samples
    assert reached == pytest.approx(10.05 * RATE, abs=0.05 * RATE)
    assert click_times(heard, RATE) == pytest.approx([0.1, 1.2, 6.1, 7.2, 8.3, 9.4], abs=0.004)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """40 minutes: 212 MB as float32 at 22.05 kHz."""
    path = tmp_path / "long.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=1)
        video.width, video.height = 32, 32
        sound = out.add_stream("pcm_u8", rate=8000, layout="mono")
        out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        out.mux(video.encode(None))
        noise = np.random.default_rng(0).integers(100, 156, (1, 80_000)).astype(np.uint8)
        for second in range(0, 2400, 10):
            piece = av.AudioFrame.from_ndarray(noise, format="u8", layout="mono")
            piece.sample_rate, piece.time_base, piece.pts = 8000, Fraction(1, 8000), 8000 * second
            out.mux(sound.encode(piece))
    job = CutJob(str(path), 0, 2_400_000, 5000, {0: SECONDS, 1: PARTS})
    tracemalloc.start()
    try:
        seen = [(m.index, sorted(m.cuts)) for m in cut(job) if isinstance(m, CutSegment)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sorted(seen) == sorted([(i, [0]) for i in range(480)] + [(0, [1])])
    assert peak < 40 << 20  # the window of parts is 14 MB
