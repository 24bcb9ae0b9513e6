"""Decoders that crash, hang and swallow memory, and videos of odd kinds, through the real way from file to store."""

import resource
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from reelmill.pipeline.decode import Limits
from reelmill.pipeline.errors import Corrupt, NoVideoStream, TooManyPixels
from reelmill.pipeline.extract.missing import Video
from reelmill.pipeline.extract.videos import extract
from reelmill.pipeline.probe import probe
from reelmill.pipeline.process.child import Child
from reelmill.storage import Outcomes, open_store
from tests.faults.conftest import Unbroken
from tests.faults.work import OPTIONS, blocks_of, measured
from tests.kinds import ffmpeg
from tests.media import make_video
from tests.stores import same

MB = 1 << 20


def outcomes(root: Path) -> dict[str, tuple[str | None, bool | None]]:
    """Class and permanence of each video's newest outcome in the store of fc6."""
    (name,) = {row["spec"] for row in Outcomes(root).tables.read("outcomes").to_pylist() if "fc6" in row["spec"]}
    return {key: (row["error_class"], row["permanent"]) for key, row in Outcomes(root).latest("extract", name).items()}


def test_a_poisonous_video_costs_only_itself(
    tmp_path: Path, unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between good videos, with one decoding process; then the poison is taken away and one more run finishes."""
    monkeypatch.setattr("reelmill.pipeline.extract.ahead.loader", lambda _: "tests.faults.poison:load")
    monkeypatch.setenv("FAULTS_FLAG", str(tmp_path / "flag"))
    names = ("segfault", "abort", "hang", "allocate", "killed")
    bad = [measured(make_video(tmp_path / f"{name}.mp4", 40, size=(96, 64))) for name in names]
    queue = [video for pair in zip(unbroken.videos, bad, strict=False) for video in pair] + unbroken.videos[len(bad) :]
    options = replace(OPTIONS, limits=Limits(wall_seconds=4, memory_bytes=900 * MB))
    began = time.monotonic()
    summary = extract(str(tmp_path / "root"), queue, [unbroken.network], options)
    assert time.monotonic() - began < 60
    assert summary.failed == {"decoder_crash": 3, "timed_out": 1, "killed": 1}
    assert outcomes(tmp_path / "root") == {
        **{video.video_id: (None, None) for video in unbroken.videos},
        **dict.fromkeys(("segfault", "abort", "allocate"), ("decoder_crash", True)),
        "hang": ("timed_out", False),
        "killed": ("killed", False),
    }
    whole = blocks_of(unbroken.root)
    assert all(same(block, whole[key]) for key, block in blocks_of(str(tmp_path / "root")).items())
    assert len(blocks_of(str(tmp_path / "root"))) == len(whole)

    monkeypatch.undo()
    assert extract(str(tmp_path / "root"), queue, [unbroken.network], OPTIONS).videos == 2, "permanent ones wait"
    assert extract(str(tmp_path / "root"), queue, [unbroken.network], OPTIONS, retry=True).videos == 3
    assert len(open_store(tmp_path / "root", "c3d-fc6")) == len(queue)


def test_a_video_of_three_hours_needs_the_memory_of_a_short_one(tmp_path: Path, unbroken: Unbroken) -> None:
    path = make_video(tmp_path / "long.mp4", 3 * 3600, fps=1, size=(64, 64), options={"preset": "ultrafast"})
    video = measured(path)
    assert video.duration_ms == 3 * 3600 * 1000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = replace(OPTIONS, segment_ms=60_000, seal_seconds=60, limits=Limits(memory_bytes=256 * MB))
    summary = extract(str(tmp_path / "root"), [video], [unbroken.network], options)
    assert (summary.failed, summary.segments) == ({}, 180)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, f"{grown / 1024:.0f} MiB more, of 2.3 GB of pixels"
    block = open_store(tmp_path / "root", "c3d-fc6").read("long")
    assert np.isfinite(block.features).all()


def test_8k_is_refused_before_it_is_decoded(tmp_path: Path, unbroken: Unbroken) -> None:
    """Its frames are noise, so that a decoder that tried would say something else."""
    path = make_video(tmp_path / "8k.mp4", 1, size=(7680, 4320), options={"preset": "ultrafast"})
    content = bytearray(path.read_bytes())
    start, stop = content.index(b"mdat") + 1000, content.index(b"moov") - 4
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)
    with pytest.raises(TooManyPixels, match=r"33177600 pixels a frame.*extract\.max_pixels"):
        probe(path)
    with pytest.raises(Corrupt):
        probe(path, Limits(max_pixels=1 << 30))
    with Child("reelmill.pipeline.probe:measure", memory_bytes=300 * MB) as child, pytest.raises(TooManyPixels):
        list(child.run({"path": str(path), "limits": Limits()}, 60))
    video = Video("8k", str(path), "0" * 64, 0, 40)
    assert extract(str(tmp_path / "root"), [video], [unbroken.network], OPTIONS).failed == {"too_many_pixels": 1}


def test_odd_kinds_end_with_features_or_with_a_class(tmp_path: Path, unbroken: Unbroken) -> None:
    with_sound = make_video(tmp_path / "sound.mp4", 50, size=(96, 64), sound=True)
    ffmpeg("-i", with_sound, "-vn", "-c", "copy", tmp_path / "audio_only.mp4")
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(NoVideoStream):
        probe(tmp_path / "audio_only.mp4")
    with pytest.raises(Corrupt, match="0 bytes"):
        probe(tmp_path / "zero.mp4")
    kinds = {
        "one_frame": make_video(tmp_path / "one.mp4", 1, size=(96, 64)),
        "slow": make_video(tmp_path / "slow.mp4", 5, fps=1, size=(96, 64)),
        "fast": make_video(tmp_path / "fast.mp4", 600, fps=240, size=(96, 64)),
        "../../up/and away\0": make_video(tmp_path / "mute.mp4", 30, size=(96, 64)),
        "sound": with_sound,
    }
    videos = [measured(path, video_id.replace("\0", "\x1b[31m")) for video_id, path in kinds.items()]
    dead = [Video(name, str(tmp_path / f"{name}.mp4"), "0" * 64, 0, 1000) for name in ("audio_only", "zero")]
    summary = extract(str(tmp_path / "a" / "root"), [*videos, *dead], [unbroken.network], OPTIONS)
    assert summary.failed == {"no_video_stream": 1, "corrupt": 1}
    store = open_store(tmp_path / "a" / "root", "c3d-fc6")
    rows = {video: len(store.read(video)) for video in store.keys()}  # noqa: SIM118
    assert rows == {"one_frame": 1, "slow": 5, "fast": 3, "../../up/and away\x1b[31m": 2, "sound": 2}
    assert {tuple(store.read(v).mask) for v in ("one_frame", "slow")} == {(2,), (2,) * 5}, "fewer frames than a window"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["root"], "an id became a path"


def test_av_is_the_decoder_that_the_poison_replaces() -> None:
    """Else the test of poisonous videos would show nothing."""
    from reelmill.pipeline.decode import FRAMES, loader, pyav

    assert FRAMES["pyav"] is pyav.frames
    assert loader("pyav") == "reelmill.pipeline.decode.pyav:load"
    assert av.__version__ in pyav.identity()
