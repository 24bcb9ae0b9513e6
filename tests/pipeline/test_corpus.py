"""The planted corpus: the same each time, readable by anybody; its labels follow tastes, those of its twin do not."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.demo.corpus import (
    COLUMNS,
    CorpusPlan,
    frames,
    planted_users,
    planted_videos,
    render,
    samples,
    write_source,
)
from reelmill.pipeline.demo.tastes import TASTES, Scene, Style, sound
from reelmill.storage.errors import InputError

TINY = CorpusPlan(videos=3, new_videos=1, segments=(2, 3), users=6, size=(96, 64), fps=10, rate=8000)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labels(plan: CorpusPlan, rows: list[dict[str, str]]) -> set[tuple[str, str, int]]:
    """(user, video, segment) by the 50 % rule, stated once more: half of each segment's own length."""
    videos, found = {v.video_id: v for v in planted_videos(plan)}, set()
    for row in rows:
        video = videos[row["youtubeId"]]
        start = round(float(row["start"]) * 1000)
        stop = start + round(float(row["duration"]) * 1000)
        for index in range(len(video.tastes)):
            a = index * plan.segment_ms
            b = min(a + plan.segment_ms, video.duration_ms)
            if 2 * (min(b, stop) - max(a, start)) > b - a:
                found.add((row["user_id"], video.video_id, index))
    return found


def shares(plan: CorpusPlan, folder: Path) -> tuple[float, float]:
    """Share of labels that are of their user's tastes, and what it would be if users took segments blindly."""
    videos = {v.video_id: v for v in planted_videos(plan)}
    users = {u.user_id: u for u in planted_users(plan)}
    hits, blind = [], []
    for user, video, index in labels(plan, read(write_source(plan, folder / "source.csv"))):
        mine = [taste in users[user].tastes for taste in videos[video].tastes]
        hits.append(mine[index])
        blind.append(np.mean(mine))
    return float(np.mean(hits)), float(np.mean(blind))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    render(TINY, folder)
    return folder


def test_everything_follows_from_the_plan(tmp_path: Path, media: Path) -> None:
    once = write_source(CorpusPlan(), tmp_path / "a.csv").read_bytes()
    planted_videos.cache_clear()
    planted_users.cache_clear()
    assert write_source(CorpusPlan(), tmp_path / "b.csv").read_bytes() == once
    assert write_source(CorpusPlan(seed=1), tmp_path / "c.csv").read_bytes() != once
    first = render(TINY, tmp_path / "again", workers=1)[0]
    assert first.read_bytes() == (media / first.name).read_bytes()


def test_labels_follow_tastes(tmp_path: Path) -> None:
    of_taste, blind = shares(CorpusPlan(), tmp_path)
    assert of_taste > 0.8
    assert blind < 0.5


def test_labels_of_the_twin_do_not(tmp_path: Path) -> None:
    of_taste, blind = shares(CorpusPlan(noise=True), tmp_path)
    assert of_taste == pytest.approx(blind, abs=0.04)


def test_the_twin_differs_in_places_only(tmp_path: Path) -> None:
    plan, twin = CorpusPlan(), CorpusPlan(noise=True)
    assert planted_videos(plan) == planted_videos(twin)
    real, noise = (read(write_source(p, tmp_path / "source.csv")) for p in (plan, twin))
    assert len(real) == len(noise)
    for a, b in zip(real, noise, strict=True):
        assert {k: v for k, v in a.items() if k not in ("start", "duration")} == {
            k: v for k, v in b.items() if k not in ("start", "duration")
        }
    assert real != noise


def test_source_table(tmp_path: Path) -> None:
    plan = CorpusPlan()
    path = write_source(plan, tmp_path / "new folder" / "source.csv")
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [p.name for p in path.parent.iterdir()] == ["source.csv"]
    rows, videos = read(path), {v.video_id: v for v in planted_videos(plan)}
    seen = {user: list(dict.fromkeys(r["youtubeId"] for r in mine)) for user, mine in groupby_user(rows)}
    assert len(seen) == plan.users
    assert sum(len(v) >= 5 for v in seen.values()) > 0.8 * plan.users
    assert all(not videos[v].new for mine in seen.values() for v in mine[:-1]), "a new video must be somebody's last"
    assert {v for mine in seen.values() for v in mine[-1:] if videos[v].new} == {v for v in videos if videos[v].new}
    assert all((r["is_last"] == "True") == (r["youtubeId"] == seen[r["user_id"]][-1]) for r in rows)

    start, length = (np.array([float(r[c]) for r in rows]) for c in ("start", "duration"))
    ends = np.array([videos[r["youtubeId"]].duration_ms / 1000 for r in rows])
    assert (start < 0).sum() == 6
    assert (start > ends).sum() == 6
    assert (length == 0).sum() == 6
    assert len(rows) - len({tuple(r.values()) for r in rows}) == 6
    claims = np.array([float(r["video_duration"]) for r in rows])
    assert 0 < (claims == -1).mean() < 0.1
    assert (claims == np.ceil(ends))[claims != -1].all()
    good = (start >= 0) & (start < ends) & (length > 0)
    assert (start + length)[good].max() <= (ends[good] + 0.011).max()


def groupby_user(rows: list[dict[str, str]]) -> list[tuple[str, list[dict[str, str]]]]:
    groups = [(user, list(mine)) for user, mine in groupby(rows, key=lambda r: r["user_id"])]
    assert len(groups) == len({user for user, _ in groups}), "the rows of a user stand together"
    return groups


def test_every_taste_is_in_old_and_new_videos() -> None:
    videos = planted_videos(CorpusPlan())
    for new in (False, True):
        found = Counter(t for v in videos if v.new is new for t in set(v.tastes))
        assert set(found) == set(range(6))
        assert min(found.values()) >= 2
    assert all(2 <= len(set(v.tastes)) <= 3 for v in videos)
    assert all(8 <= len(v.tastes) <= 12 and v.duration_ms % 5000 for v in videos)


def test_files_decode_with_sound_and_the_right_length(media: Path) -> None:
    for video in planted_videos(TINY):
        with av.open(str(media / f"{video.video_id}.mp4")) as file:
            stream, sound_stream = file.streams.video[0], file.streams.audio[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert (sound_stream.codec_context.name, sound_stream.rate) == ("aac", TINY.rate)
            pictures = [(float(f.time), f.to_ndarray(format="rgb24")) for f in file.decode(stream)]
            file.seek(0)
            heard = sum(f.samples for f in file.decode(sound_stream)) / TINY.rate
        assert len(pictures) == video.frames
        assert [round(t * TINY.fps) for t, _ in pictures] == list(range(video.frames))
        assert heard == pytest.approx(video.duration_ms / 1000, abs=0.3)
        drawn = next(frames(TINY, planted_videos(TINY).index(video)))
        assert np.abs(pictures[0][1].astype(float) - drawn).mean() < 12, "what is drawn is what is seen"


def test_truth_stands_beside_the_videos(media: Path) -> None:
    truth = json.loads((media / "truth.json").read_text())
    assert truth["tastes"] == [t.name for t in TASTES]
    video = planted_videos(TINY)[0]
    assert truth["videos"][video.video_id]["segments"] == [TASTES[t].name for t in video.tastes]
    assert set(truth["users"]) == {u.user_id for u in planted_users(TINY)}
    assert truth["plan"]["seed"] == 0


def test_complete_files_are_kept(media: Path) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in media.glob("*.mp4")}
    told: list[str] = []
    paths = render(TINY, media, on_video=told.append)
    assert {p.name: p.stat().st_mtime_ns for p in media.glob("*.mp4")} == before
    assert sorted(told) == sorted(p.stem for p in paths) == sorted(v.video_id for v in planted_videos(TINY))


def test_a_missing_file_is_drawn_again_and_told(media: Path, tmp_path: Path) -> None:
    for path in media.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lost = tmp_path / f"{planted_videos(TINY)[1].video_id}.mp4"
    lost.unlink()
    told: list[str] = []
    render(TINY, tmp_path, on_video=told.append)
    assert told[-1] == lost.stem
    assert lost.read_bytes() == (media / lost.name).read_bytes()


def test_another_plan_has_other_files() -> None:
    ids = {v.video_id for seed in range(3) for v in planted_videos(CorpusPlan(seed=seed))}
    ids |= {v.video_id for v in planted_videos(CorpusPlan(size=(160, 90)))}
    assert len(ids) == 4 * 24
    assert all(len(i) == 11 for i in ids)


def test_a_failed_drawing_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield np.zeros((64, 96, 3), np.uint8)
        raise OSError("no pictures left")

    with pytest.raises(OSError, match="no pictures left"):
        write_video(tmp_path / "a.mp4", broken(), 10, np.zeros(8000, np.float32), 8000)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_rendering_leaves_no_half_file(tmp_path: Path) -> None:
    long = "CorpusPlan(videos=2, new_videos=1, segments=(20, 20), users=2, size=(320, 180))"
    code = f"from reelmill.pipeline.demo.corpus import *; render({long}, '{tmp_path}', workers=1)"
    deadline = time.monotonic() + 60
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            while not any(p.stat().st_size > 50_000 for p in tmp_path.glob(".part-*")) and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.02)
        finally:
            process.kill()
    while any(_owner_lives(p) for p in tmp_path.glob(".part-*")) and time.monotonic() < deadline:
        time.sleep(0.02)  # the drawing process follows its parent
    left = list(tmp_path.glob(".part-*"))
    assert len(left) == 1
    assert not list(tmp_path.glob("*.mp4"))
    render(TINY, tmp_path, workers=1)
    assert not list(tmp_path.glob(".part-*")), "what a dead writer left is swept"
    assert len(list(tmp_path.glob("*.mp4"))) == 3


def _owner_lives(path: Path) -> bool:
    try:
        os.kill(int(path.name.rpartition("-")[2]), 0)
    except ProcessLookupError:
        return False
    return True


def test_tastes_look_and_sound_different_whatever_the_style() -> None:
    """A nearest-centroid over plain colours and plain spectra finds the taste of a video with a style of its own."""
    looks, sounds = [], []
    for number in range(6):
        rng = np.random.default_rng(number)
        style = Style.draw(rng)
        looks.append([Scene(t, style, (96, 64), rng).frame(1.0).mean((0, 1)) / 50 for t in TASTES])
        spectra = [np.abs(np.fft.rfft(sound(t, style, 0, 16_000, 16_000, rng))) for t in TASTES]
        sounds.append([np.log(1e-3 + s[:8000].reshape(40, 200).mean(1)) for s in spectra])
    for kind in (np.array(looks), np.array(sounds)):
        found = []
        for held in range(6):
            centres = np.delete(kind, held, 0).mean(0)
            centred = kind[held]
            found += (((centred[:, None] - centres) ** 2).sum(-1).argmin(1) == np.arange(6)).tolist()
        assert np.mean(found) > 0.8
    assert np.array(looks).std(0).mean() > 0.2, "styles must not be trivial"


def test_shapes_move_and_sound_is_in_range() -> None:
    rng = np.random.default_rng(0)
    style = Style.draw(rng)
    for number, taste in enumerate(TASTES):
        scene = Scene(taste, style, (160, 90), rng)
        moved = [np.abs(scene.frame(a / 5).astype(int) - scene.frame(b / 5)).mean() for a, b in pairwise(range(5))]
        assert min(moved) > 0.5, taste.name
        heard = sound(taste, style, 5.0 * number, 8000, 8000, rng)
        assert heard.dtype == np.float32
        assert np.abs(heard).max() <= 1
        assert np.sqrt((heard**2).mean()) > 0.02, taste.name


def test_sound_is_as_long_as_the_pictures() -> None:
    for number, video in enumerate(planted_videos(TINY)):
        assert len(samples(TINY, number)) == video.frames * TINY.rate // TINY.fps


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", (np.full((64, 96, 3), 20 * i, np.uint8) for i in range(5)), 10, None, 0)
    with av.open(io.BytesIO(path.read_bytes())) as file:
        assert not file.streams.audio
        assert sum(1 for _ in file.decode(video=0)) == 5


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"tastes": 7}, "tastes is 7"),
        ({"new_videos": 24}, "new_videos is 24"),
        ({"segments": (5, 3)}, "segments"),
        ({"size": (321, 180)}, "even"),
        ({"segment_ms": 1030}, "whole frames"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict, names: str) -> None:
    with pytest.raises(InputError, match=names):
        CorpusPlan(**wrong)
