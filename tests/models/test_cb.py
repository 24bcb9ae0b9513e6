"""CB: its vectors against scikit-learn's, which words count, and what its task reads of whom."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from reelmill.extractors.text.words import tokens
from reelmill.models.baselines.cb import CBSettings
from reelmill.models.baselines.cb.data import load
from reelmill.models.baselines.cb.model import CBTask
from reelmill.storage import Block, FeatureWriter, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import VALID

YEAR = datetime(2025, 1, 1, tzinfo=UTC)
USERS, VIDEOS, POSTS = 30, 12, 6
SETTINGS = CBSettings(least_videos=1, least_watchers=1, least_posts=1, test_share=0.3, validation_share=0.2)
ANIMALS = ("cat", "dog", "fish", "bird", "horse", "cow", "lion", "wolf", "fox", "owl")
LEXICON = [f"{animal}{n}" for n in range(6) for animal in ANIMALS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who watch and post all year. Every text has the word `the`."""
    place, rng = tmp_path_factory.mktemp("cb"), np.random.default_rng(0)
    events: list[dict[str, Any]] = []
    for user in range(USERS):
        for video, day in zip(rng.permutation(VIDEOS)[:6], np.sort(rng.uniform(0, 364, 6)), strict=True):
            when = YEAR + timedelta(days=float(day))
            events.append({"user_id": f"u{user:02d}", "video_id": f"v{video:02d}", "kind": "watch", "time": when})
        for day in np.sort(rng.uniform(0, 364, POSTS)):
            text = " ".join(["The", *rng.choice(LEXICON, 3)]) + "!"
            when = YEAR + timedelta(days=float(day))
            events.append({"user_id": f"u{user:02d}", "video_id": "", "kind": "post", "time": when, "text": text})
    events.append({"user_id": "u00", "video_id": "", "kind": "post", "time": None, "text": "undated"})
    Tables(place).write("events", [{"source": "s", "source_row": i + 1, **event} for i, event in enumerate(events)])
    videos = [
        {"video_id": f"v{video:02d}", "title": f"the {' '.join(rng.choice(LEXICON, 3))}", "tags": ["cat1", "zebra"],
         "description": None if video % 2 else "only here" if video == 4 else "Fish2 & fish2"}
        for video in range(VIDEOS - 1)
    ]  # fmt: skip
    Tables(place).write("videos", videos)
    spec = Spec("planted_posts", "delta", 4, "post", weights="none")
    with FeatureWriter(place, spec) as writer:
        for user in range(USERS):
            mine = [e for e in events if e["user_id"] == f"u{user:02d}" and e["kind"] == "post" and e["time"]]
            ms = np.array([round(e["time"].timestamp() * 1000) for e in mine], np.int64)
            topic = np.eye(4, dtype=np.float32)[rng.integers(4, size=len(mine))]
            index = np.arange(len(mine), dtype=np.int32)
            writer.add(Block(f"u{user:02d}", topic, np.full(len(mine), VALID, np.uint8), index, ms, ms + 1))
    return place


@pytest.fixture(scope="module")
def task(root: Path) -> CBTask:
    return task_of(root, SETTINGS)


def task_of(root: Path, settings: CBSettings) -> CBTask:
    return CBTask(load(root, store_of(root)), settings, torch.device("cpu"))


def store_of(root: Path) -> str:
    return next((root / "features").iterdir()).name


def documents(root: Path, task: CBTask, users: list[int], until: int) -> list[str]:
    """The posts of each of these users before a moment, as one text."""
    events = Tables(root).read("events", ["user_id", "kind", "time", "text"]).to_pylist()
    names = [task.data.users[task.split.users[user]] for user in users]
    return [
        " ".join(
            e["text"] for e in events
            if e["user_id"] == name and e["kind"] == "post" and e["time"] and e["time"].timestamp() * 1000 < until
        )
        for name in names
    ]  # fmt: skip


def test_scores_against_scikit_learn(root: Path, task: CBTask) -> None:
    """Vocabulary and idf by all videos and the training users; test users by the known months."""
    rows = {row["video_id"]: row for row in Tables(root).read("videos").to_pylist()}
    texts = []
    for video in task.split.videos:
        row = rows.get(task.data.videos[video], {"title": "", "tags": [], "description": ""})
        texts.append(" ".join([row["title"], *row["tags"], row["description"] or ""]))
    trained = documents(root, task, list(range(task.split.train)), int(task.data.watch_ms.max()) + 1)
    oracle = TfidfVectorizer(tokenizer=tokens, token_pattern=None, lowercase=False, max_df=0.5)
    oracle.fit([text for text in [*texts, *trained] if text.strip()])
    assert task.identities()["words"] == sorted(oracle.vocabulary_)
    assert {"here", "zebra"} <= {*oracle.vocabulary_}
    assert not {"the", "undated"} & {*oracle.vocabulary_}
    model = task.model(torch.Generator())
    for batch in task.batches(torch.Generator()):
        model.solve(batch)
    asked = documents(root, task, task.test.tolist(), task._known_until)
    expected = (oracle.transform(asked) @ oracle.transform(texts).T).toarray()
    np.testing.assert_allclose(task.scores(model, task.test).numpy(), expected, atol=1e-6)
    assert expected.any(axis=0).sum() == task.n - task.counts["videos_without_text"] == VIDEOS - 1


def test_rare_words_go_first(root: Path) -> None:
    """At most so many words: those in the most documents."""
    few = task_of(root, CBSettings(**{**SETTINGS.to_dict(), "words": 3}))
    assert len(few.identities()["words"]) == 3
    assert "here" not in few.identities()["words"]


def test_no_common_words_are_an_error(root: Path) -> None:
    with pytest.raises(InputError, match="most_common"):
        task_of(root, CBSettings(**{**SETTINGS.to_dict(), "most_common": 0.0}))
    for wrong in ({"words": 0}, {"most_common": 1.5}, {"least_posts": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            CBSettings(**wrong)  # type: ignore[arg-type]


def test_videos_without_a_word_are_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "features").symlink_to(root / "features")
    Tables(tmp_path).write("events", Tables(root).read("events"))
    with pytest.raises(InputError, match=r"no watched video of .* has a title"):
        load(tmp_path, store_of(root))
