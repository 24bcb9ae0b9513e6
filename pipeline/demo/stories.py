"""More about the planted corpus than its highlights: when each user watched which video over a year, and titles,
descriptions and tags of the videos, in words that depend on their tastes.

The table is for format `mapped`, with `MAPPING`. What a user watches follows from the plan (`planted`), also in the
noise twin, of which only the highlights are noise.
"""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from reelmill.pipeline.demo.planted import CorpusPlan, PlantedVideo, planted_users, planted_videos
from reelmill.pipeline.demo.tastes import TASTES
from reelmill.storage import parts

BEGIN, YEAR = datetime(2025, 1, 1, tzinfo=UTC), timedelta(days=365)
WATCHES, WORDS = 5, 6
"""Streams of random numbers, after those of `planted`."""
MAPPING = {
    "user_id": "user", "video_id": "video", "kind": "watch", "time": "time", "title": "title",
    "description": "description", "tags": "tags",
}  # fmt: skip
COLUMNS = ("user", "video", "time", "title", "description", "tags")

VOCABULARY = {
    "tide": "wave shore salt harbour foam blue sail deep current gull",
    "ember": "fire spark glow ash smoke coal night flare heat crackle",
    "meadow": "grass flower spring bee clover green field breeze petal lark",
    "neon": "city grid laser midnight synth arcade chrome pulse drive violet",
    "paper": "ink fold letter page pencil quiet studio sketch stamp desk",
    "honey": "gold amber comb slow syrup warm spoon autumn glaze hive",
}
"""Words of each taste."""
PLAIN = [
    "a",
    "the",
    "with",
    "and",
    "of",
    "some",
    "more",
    "film",
    "clip",
    "part",
    "video",
    "little",
    "long",
    "new",
    "look",
    "first",
]


def watches(plan: CorpusPlan) -> Iterator[tuple[str, ...]]:
    """Rows of the table, user by user: their videos in order, spread over the year."""
    videos = planted_videos(plan)
    told = [_told(plan, number, video) for number, video in enumerate(videos)]
    for number, user in enumerate(planted_users(plan)):
        rng = plan.rng(WATCHES, number)
        for turn, index in enumerate(user.videos):
            share = (turn + rng.uniform(0.05, 0.95)) / len(user.videos)
            time = BEGIN + share * YEAR
            yield (user.user_id, videos[index].video_id, time.strftime("%Y-%m-%dT%H:%M:%SZ"), *told[index])


def write_watches(plan: CorpusPlan, path: Path) -> Path:
    """Write the table; return its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(watches(plan))
    return parts.write_file(Path(path), text.getvalue().encode())


def _told(plan: CorpusPlan, number: int, video: PlantedVideo) -> tuple[str, str, str]:
    """Title, description and tags of a video: each segment adds some words of its taste among neutral ones."""
    rng = plan.rng(WORDS, number)
    names = [TASTES[taste].name for taste in video.tastes]
    words: list[str] = []
    for name in names:
        own = rng.choice(VOCABULARY[name].split(), 4, replace=False).tolist()
        words += _mixed(own + rng.choice(PLAIN, 3).tolist(), rng)
    heard = list(dict.fromkeys(names))
    title = " ".join(word for name in heard for word in rng.choice(VOCABULARY[name].split(), 2, replace=False))
    return title, " ".join(words), "|".join(heard)


def _mixed(words: list[str], rng: np.random.Generator) -> list[str]:
    return [words[place] for place in rng.permutation(len(words))]
