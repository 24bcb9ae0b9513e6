"""The planted corpus of the demo: the videos, and the table of highlights, both made from a plan (`planted.py`).

The hidden taste of a segment determines how it looks and sounds (`tastes.py`), and users highlight segments of their
own tastes. So a recommender that works finds the taste in the picture, and must beat chance on videos that nobody has
highlighted before. On the noise twin (`noise=True`: the same videos, users and numbers of records, but each user's
highlights of a video moved to random segments) it must stay at chance.
"""

import contextlib
import csv
import io
import json
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

import numpy as np

from reelmill.pipeline.decode.render import write_video
from reelmill.pipeline.demo.planted import (
    PLACES,
    RECORDS,
    STYLES,
    CorpusPlan,
    PlantedUser,
    PlantedVideo,
    planted_users,
    planted_videos,
    truth,
)
from reelmill.pipeline.demo.tastes import TASTES, Scene, Style, sound
from reelmill.pipeline.process.child import Child
from reelmill.storage import parts

VIDEO_LIMIT_S = 600.0
"""Most seconds that drawing one video may take."""

Row = tuple[str, str, str, str, str, str]
COLUMNS = ("youtubeId", "start", "duration", "user_id", "video_duration", "is_last")
"""Columns of the published PHD² table; times in seconds."""


def _liked(user: PlantedUser, video: PlantedVideo, rng: np.random.Generator) -> list[int]:
    """Segments that the user highlights: most of those of their tastes, and a few others."""
    segments: list[int] = []
    first, best = 0, max(user.tastes.values())
    for taste, run in groupby(video.tastes):
        length = len(list(run))
        if taste in user.tastes and rng.random() < 0.45 + 0.5 * user.tastes[taste] / best:
            segments += range(first, first + length)
        first += length
    others = sorted(set(range(first)) - set(segments))
    if others and (not segments or rng.random() < 0.15):
        segments.append(int(rng.choice(others)))
    return segments


def _stretches(
    plan: CorpusPlan, user: PlantedUser, video: PlantedVideo, rng: np.random.Generator, places: np.random.Generator
) -> list[tuple[float, float]]:
    """What a user highlights in a video, [(start, stop), …] in milliseconds: segments, with edges as inexact as those
    of people."""
    liked = _liked(user, video, rng)
    if plan.noise:  # any set of as many segments is as likely as any other, so no ranking can beat chance
        liked = places.choice(len(video.tastes), len(liked), replace=False).tolist()
    stretches = []
    for segment in liked:
        start, stop = segment * plan.segment_ms, min((segment + 1) * plan.segment_ms, video.duration_ms)
        early, late = np.clip(rng.normal(0, 0.08, 2), -0.2, 0.2) * (stop - start)
        stretches.append((max(0.0, start + early), min(video.duration_ms, stop + late)))
    if rng.random() < 0.15:  # a touch: too short to make a label of a whole segment
        length = rng.uniform(0.1, 0.35) * plan.segment_ms
        touched = rng.uniform(0, video.duration_ms - length)
        stretches.append((touched, touched + length))
    return stretches


def _mistakes(video: PlantedVideo) -> list[list[tuple[float, float]]]:
    """Rows that must be rejected, by kind: duplicate, before the start, after the end, empty."""
    end = video.duration_ms
    return [[(1000, 3000)] * 2, [(-3200, -1000)], [(end + 7000, end + 12_000)], [(4000, 4000)]]


def records(plan: CorpusPlan) -> Iterator[Row]:
    """Rows of the source table, user by user, their videos in order of time. As in the real one some durations are
    unknown and some rows are wrong: every fifth user makes a mistake."""
    videos = planted_videos(plan)
    for number, user in enumerate(planted_users(plan)):
        rng, places = plan.rng(RECORDS, number), plan.rng(PLACES, number)
        wrong = int(rng.integers(len(user.videos))) if number % 5 == 0 else None
        for turn, index in enumerate(user.videos):
            video, last = videos[index], str(turn == len(user.videos) - 1)
            claim = f"{-(-video.duration_ms // 1000):.1f}" if rng.random() > 0.04 else "-1.0"
            stretches = _stretches(plan, user, video, rng, places)
            if turn == wrong:
                stretches += _mistakes(video)[number // 5 % 4]
            for start, stop in stretches:
                start, stop = round(start / 1000, 2), round(stop / 1000, 2)
                yield (video.video_id, f"{start:.2f}", f"{stop - start:.2f}", user.user_id, claim, last)


def write_source(plan: CorpusPlan, path: Path) -> Path:
    """Write the highlights as a table in the format of PHD²; return its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(records(plan))
    return parts.write_file(Path(path), text.getvalue().encode())


def frames(plan: CorpusPlan, number: int) -> Iterator[np.ndarray]:
    """The pictures of one video, (height, width, 3) uint8 each. A run of one taste is one scene."""
    video, rng = planted_videos(plan)[number], plan.rng(STYLES, number)
    style = Style.draw(rng)
    for taste, first, stop in _scenes(plan, video):
        scene = Scene(TASTES[taste], style, plan.size, rng)
        for frame in range(stop - first):
            yield scene.frame(frame / plan.fps)


def samples(plan: CorpusPlan, number: int) -> np.ndarray:
    """The sound of one video, (n,) float32, as long as its pictures."""
    video, rng = planted_videos(plan)[number], plan.rng(STYLES, number)
    style = Style.draw(rng)
    heard = []
    for taste, first, stop in _scenes(plan, video):
        a, b = first * plan.rate // plan.fps, stop * plan.rate // plan.fps
        heard.append(sound(TASTES[taste], style, a / plan.rate, b - a, plan.rate, rng))
    return np.concatenate(heard)


def _scenes(plan: CorpusPlan, video: PlantedVideo) -> Iterator[tuple[int, int, int]]:
    """(taste, first frame, stop frame) of each run of segments of one taste."""
    full, segment = plan.segment_ms * plan.fps // 1000, 0
    for taste, run in groupby(video.tastes):
        first, segment = segment, segment + len(list(run))
        yield taste, first * full, min(segment * full, video.frames)


def render(
    plan: CorpusPlan, folder: Path, on_video: Callable[[str], None] | None = None, workers: int | None = None
) -> list[Path]:
    """Write each video as `<video_id>.mp4` into the folder, and `truth.json` beside them; return the paths.

    An existing file is complete (it is renamed last) and of this plan (by its id), and is kept. At most `workers`
    processes draw at once, by default one per core. `on_video` is called with the id of each video that is ready.
    """
    folder = Path(folder)
    parts.sweep(folder)
    parts.write_file(folder / "truth.json", (json.dumps(truth(plan), indent=1) + "\n").encode())
    paths = [folder / f"{video.video_id}.mp4" for video in planted_videos(plan)]
    ready = on_video or (lambda video_id: None)
    todo = [number for number, path in enumerate(paths) if not path.exists()]
    for path in paths:
        if path.exists():
            ready(path.stem)
    workers = min(workers or os.cpu_count() or 1, len(todo))
    idle: queue.SimpleQueue[Child] = queue.SimpleQueue()

    def draw_one(number: int) -> str:
        child = idle.get()
        try:
            return list(child.run((plan, number, str(paths[number])), VIDEO_LIMIT_S))[-1]
        finally:
            idle.put(child)

    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            idle.put(stack.enter_context(Child("reelmill.pipeline.demo.corpus:draw")))
        pool = stack.enter_context(ThreadPoolExecutor(max(workers, 1)))
        futures = [pool.submit(draw_one, number) for number in todo]
        try:
            for future in as_completed(futures):
                ready(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the videos in hand are finished
            raise
    return paths


def draw(job: tuple[CorpusPlan, int, str]) -> Iterator[str]:
    """Target for a child process of `render`: write one video of a plan to a path, and yield its id."""
    plan, number, path = job
    write_video(Path(path), frames(plan, number), plan.fps, samples(plan, number), plan.rate)
    yield planted_videos(plan)[number].video_id
