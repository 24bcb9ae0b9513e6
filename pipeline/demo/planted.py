"""The plan of a planted corpus, and the hidden tastes of its videos and users.

Every segment has one hidden taste; a video has three of them, in runs; a user has one or two. Everything is determined
by the plan and its seed. No code of any model is used.
"""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reelmill.pipeline.demo.tastes import TASTES
from reelmill.storage.errors import InputError

LOOK = 1
"""Increased when the drawing changes: it is part of the id of each video, so that no older video is reused."""
TASTES_OF_A_VIDEO = 3
VIDEOS, USERS, RECORDS, PLACES, STYLES = range(5)
"""Streams of random numbers, one for each purpose, which do not influence one another."""


@dataclass(frozen=True)
class CorpusPlan:
    """Parameters of a corpus. Equal plans give the same corpus."""

    videos: int = 24
    new_videos: int = 6
    """Number of videos, of the last ones, that users watch only as their last video."""
    segments: tuple[int, int] = (8, 12)
    """Fewest and most segments of a video; the last one is shorter than the others."""
    tastes: int = 6
    users: int = 120
    fps: int = 25
    size: tuple[int, int] = (320, 180)
    """(width, height) in pixels, even."""
    rate: int = 22_050
    """Samples of sound per second."""
    segment_ms: int = 5000
    noise: bool = False
    """Whether highlights are independent of tastes."""
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            f"tastes is {self.tastes}, from 1 to {len(TASTES)} are known": 1 <= self.tastes <= len(TASTES),
            f"new_videos is {self.new_videos}, it must be from 1 to videos − 1": 1 <= self.new_videos < self.videos,
            f"segments is {self.segments}, it must be (fewest, most)": 1 <= self.segments[0] <= self.segments[1],
            f"size is {self.size}, both must be even and at least 32": not any(n % 2 or n < 32 for n in self.size),
            f"segment_ms is {self.segment_ms}, it must be whole frames at {self.fps} a second, at least 1000":
                self.segment_ms >= 1000 and self.segment_ms * self.fps % 1000 == 0,
        }  # fmt: skip
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"corpus plan: {rule}")

    def rng(self, stream: int, number: int) -> np.random.Generator:
        """The random numbers of one video or user for one purpose."""
        return np.random.default_rng([self.seed, stream, number])


@dataclass(frozen=True)
class PlantedVideo:
    """A video of the corpus, with its hidden tastes."""

    video_id: str
    tastes: tuple[int, ...]
    """Hidden taste of each segment."""
    frames: int
    duration_ms: int
    new: bool


@dataclass(frozen=True)
class PlantedUser:
    """A user of the corpus, with their hidden tastes."""

    user_id: str
    tastes: dict[int, float]
    """Taste → weight; the weights sum to 1."""
    videos: tuple[int, ...]
    """Numbers of the videos watched, in order."""


@functools.lru_cache(maxsize=8)
def planted_videos(plan: CorpusPlan) -> tuple[PlantedVideo, ...]:
    """The videos of the plan; every taste is in about the same number of new videos."""
    look = [LOOK, plan.videos, plan.new_videos, *plan.segments, plan.tastes, plan.fps, *plan.size, plan.rate,
            plan.segment_ms, plan.seed]  # fmt: skip
    tag = hashlib.sha256(json.dumps(look).encode()).hexdigest()[:5]
    several = min(TASTES_OF_A_VIDEO, plan.tastes)
    rng = plan.rng(VIDEOS, plan.videos)
    decks = [rng.permutation(plan.tastes) for _ in range(plan.videos * several // plan.tastes + 1)]
    deck = np.concatenate(decks)
    videos = []
    for number in range(plan.videos):
        rng = plan.rng(VIDEOS, number)
        count = int(rng.integers(plan.segments[0], plan.segments[1] + 1))
        mine = deck[number * several : (number + 1) * several]
        tastes: list[int] = []
        while len(tastes) < count:
            round_ = rng.permutation(mine)
            if several > 1 and tastes and tastes[-1] == round_[0]:
                round_ = round_[::-1]
            for taste in round_:
                tastes += [int(taste)] * int(rng.integers(1, 4))
        full = plan.segment_ms * plan.fps // 1000
        frames = (count - 1) * full + int(rng.integers(full * 2 // 5, full))
        videos.append(
            PlantedVideo(
                video_id=f"rm{number:03d}-{tag}",  # eleven characters, as an id of PHD² has
                tastes=tuple(tastes[:count]),
                frames=frames,
                duration_ms=round(frames * 1000 / plan.fps),
                new=number >= plan.videos - plan.new_videos,
            )
        )
    return tuple(videos)


@functools.lru_cache(maxsize=8)
def planted_users(plan: CorpusPlan) -> tuple[PlantedUser, ...]:
    """The users of the plan. One in ten has watched three old videos at most; the others end with a new one."""
    videos = planted_videos(plan)
    old = [n for n, v in enumerate(videos) if not v.new]
    users = []
    for number in range(plan.users):
        rng = plan.rng(USERS, number)
        tastes = {number % plan.tastes: 1.0}
        if plan.tastes > 1 and rng.random() < 0.4:
            share = float(rng.uniform(0.55, 0.75))
            second = (number + int(rng.integers(1, plan.tastes))) % plan.tastes
            tastes = {number % plan.tastes: share, second: 1 - share}
        light = rng.random() < 0.1
        many = int(rng.integers(2, 4)) if light else 4 + int(rng.poisson(2))
        appeal = np.array(
            [1 + 8 * sum(tastes.get(t, 0) for t in videos[n].tastes) / len(videos[n].tastes) for n in old]
        )
        watched = rng.choice(old, min(many, len(old)), replace=False, p=appeal / appeal.sum()).tolist()
        if not light:
            new = [n for n, v in enumerate(videos) if v.new]
            watched.append(int(rng.choice([n for n in new if number % plan.tastes in videos[n].tastes] or new)))
        users.append(PlantedUser(f"{20_000 + 2 * number}", tastes, tuple(watched)))
    return tuple(users)


def truth(plan: CorpusPlan) -> dict[str, Any]:
    """The hidden facts: the taste of each segment and the tastes of each user, by name."""
    names = [taste.name for taste in TASTES[: plan.tastes]]
    return {
        "plan": asdict(plan),
        "tastes": names,
        "videos": {
            v.video_id: {"duration_ms": v.duration_ms, "new": v.new, "segments": [names[t] for t in v.tastes]}
            for v in planted_videos(plan)
        },
        "users": {u.user_id: {names[t]: round(w, 4) for t, w in u.tastes.items()} for u in planted_users(plan)},
    }
