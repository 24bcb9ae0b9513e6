"""The second table of the planted corpus: times, titles, words that go with tastes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from reelmill.pipeline import sources
from reelmill.pipeline.demo import stories
from reelmill.pipeline.demo.planted import CorpusPlan, planted_users, planted_videos
from reelmill.pipeline.demo.tastes import TASTES

PLAN = CorpusPlan(users=40)


def test_it_is_a_table_for_the_mapped_format(tmp_path: Path) -> None:
    read = sources.read(stories.write_watches(PLAN, tmp_path / "w.csv"), "mapped", mapping=stories.MAPPING)
    users = {user.user_id: [planted_videos(PLAN)[n].video_id for n in user.videos] for user in planted_users(PLAN)}
    assert (read.events.num_rows, read.rejects.num_rows) == (sum(map(len, users.values())), 0)
    events = read.events.sort_by("time").to_pylist()
    assert {e["kind"] for e in events} == {"watch"}
    for user, videos in users.items():
        mine = [e for e in events if e["user_id"] == user]
        assert [e["video_id"] for e in mine] == videos  # in her order
        assert stories.BEGIN <= mine[0]["time"] < mine[-1]["time"] < stories.BEGIN + stories.YEAR
    assert {row["video_id"] for row in read.videos.to_pylist()} == {v for videos in users.values() for v in videos}


def test_words_go_with_tastes_and_every_one_occurs_often() -> None:
    assert set(stories.VOCABULARY) == {taste.name for taste in TASTES}
    told = {row[1]: row[3:] for row in stories.watches(CorpusPlan())}
    count: Counter[str] = Counter()
    for video in planted_videos(CorpusPlan()):
        title, description, tags = told[video.video_id]
        names = {TASTES[taste].name for taste in video.tastes}
        assert set(tags.split("|")) == names
        words = set(f"{title} {description}".split()) - set(stories.PLAIN)
        assert words <= {word for name in names for word in stories.VOCABULARY[name].split()}
        count.update(description.split())
    assert min(count.values()) > 5


def test_it_follows_from_the_plan() -> None:
    first = list(stories.watches(PLAN))
    assert first == list(stories.watches(PLAN)) == list(stories.watches(replace(PLAN, noise=True)))
    assert first != list(stories.watches(replace(PLAN, seed=1)))
