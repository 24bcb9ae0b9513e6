"""Sources that share ids are never mixed unasked: what a fit reads, what it refuses, and what its run remembers."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reelmill.flows.jobs.places import of_data
from reelmill.flows.jobs.run import run
from reelmill.flows.jobs.train import train as train_job
from reelmill.flows.settings.sections import ModelSettings, Settings, TrainSettings
from reelmill.models import recommend, train
from reelmill.models.baselines.vbpr import BPRSettings
from reelmill.models.data import sources
from reelmill.models.drnn.world import World, write
from reelmill.models.protocols.segments.data import load_labels
from reelmill.models.protocols.segments.floors import floors
from reelmill.models.report.page import write_report
from reelmill.models.runs import Run, load
from reelmill.pipeline import dataset
from reelmill.storage import Root, Tables
from reelmill.storage.errors import InputError

SETTINGS = BPRSettings(dim=4, epochs=2, batch=64)
QUIET: dict[str, Any] = {"model": "bpr", "logger": "none", "pictures": False}


def log(source: str, users: int, videos: int, each: int, seed: int, **rest: Any) -> list[dict[str, Any]]:
    """Watches of users 1 … and videos 1 …, as most data sets number them."""
    rng = np.random.default_rng(seed)
    pairs = [(u, v) for u in range(1, users + 1) for v in rng.permutation(videos)[:each] + 1]
    return [
        {"user_id": str(u), "video_id": str(v), "kind": "watch", "source": source, "source_row": n + 1, **rest}
        for n, (u, v) in enumerate(pairs)
    ]


def root_of(folder: Path, *logs: list[dict[str, Any]]) -> Root:
    for rows in logs:
        Tables(folder).write("events", rows)
    return Root(folder)


A, B = log("a", 40, 60, 12, 0), log("b", 90, 50, 10, 1)


@pytest.fixture
def both(tmp_path: Path) -> Root:
    return root_of(tmp_path / "both", A, B)


def test_two_sources_that_share_ids_are_refused_and_named(both: Root) -> None:
    with pytest.raises(InputError, match=r"sources a, b: a and b share 40 users and 50 videos .*train.sources: \[a\]"):
        train(both, settings=SETTINGS, **QUIET)
    assert not Run(both.runs).folder.exists()


def test_sources_that_share_only_videos_or_only_users_are_refused_as_well(tmp_path: Path) -> None:
    others = [{**row, "user_id": "x" + row["user_id"]} for row in B]
    with pytest.raises(InputError, match="share 50 videos"):
        sources.choose(root_of(tmp_path / "videos", A, others))
    others = [{**row, "video_id": "x" + row["video_id"]} for row in B]
    with pytest.raises(InputError, match="share 40 users"):
        sources.choose(root_of(tmp_path / "users", A, others))


def test_sources_without_a_common_id_and_parts_of_one_data_set_are_read_together(tmp_path: Path) -> None:
    apart = [{**row, "user_id": "x" + row["user_id"], "video_id": "x" + row["video_id"]} for row in B]
    root = root_of(tmp_path / "apart", A, apart)
    assert sources.choose(root).sources == frozenset()
    assert train(root, settings=SETTINGS, **QUIET).counts["users"] == 130
    parts = [{**row, "source": ("train", "validation", "test")[n % 3]} for n, row in enumerate(A)]
    assert sources.choose(root_of(tmp_path / "parts", parts)).sources == frozenset()


def test_the_named_source_is_fitted_as_if_it_were_alone(both: Root, tmp_path: Path) -> None:
    alone = train(root_of(tmp_path / "alone", A), settings=SETTINGS, **QUIET)
    named = train(both, settings=SETTINGS, sources=["a"], **QUIET)
    assert named.metrics["rows"] == alone.metrics["rows"]
    assert named.metrics["sources"] == alone.metrics["sources"] == {"a": len(A)}
    left = {name: n for name, n in named.counts.items() if name not in alone.counts}
    assert left == {
        "events_of_other_sources": len(B), "labels_of_other_sources": 0, "users_shared_with_other_sources": 40,
        "videos_shared_with_other_sources": 50,
    }  # fmt: skip
    assert named.counts["users"] == 40
    assert load(named.folder).sources == ("a",)


def test_naming_every_source_mixes_them_and_a_root_of_one_keeps_its_runs(both: Root, tmp_path: Path) -> None:
    """A run's name is that of older versions where nothing is left out."""
    mixed = train(both, settings=SETTINGS, sources=["b", "a"], **QUIET)
    assert mixed.counts["users"] == 90
    assert mixed.counts["events"] == len(A) + len(B)
    one = root_of(tmp_path / "one", A)
    plain, named = (train(one, settings=SETTINGS, sources=s, **QUIET) for s in ([], ["a"]))
    assert named.skipped
    assert plain.folder == named.folder
    assert plain.folder.name == "bpr-7dc1aeb2"


def test_a_source_that_is_not_there_names_the_nearest(both: Root) -> None:
    with pytest.raises(InputError, match="source 'A' has no events"):
        train(both, settings=SETTINGS, sources=["A"], **QUIET)


def test_recommending_reads_the_sources_of_the_fit(both: Root) -> None:
    """User 1 has watched 12 videos in `a`, and others in `b`."""
    run = train(both, settings=SETTINGS, sources=["a"], **QUIET).folder.name
    answer = recommend(both, user="1", run=run, top=99)
    met = {row["video_id"] for row in A if row["user_id"] == "1"}
    assert not met & {row["video_id"] for row in answer.recommended}
    assert answer.candidates == len({row["video_id"] for row in A}) - len(met)
    assert not answer.notes


def test_events_of_a_source_that_came_after_the_fit_are_noted(tmp_path: Path) -> None:
    root = root_of(tmp_path, A)
    run = train(root, settings=SETTINGS, **QUIET).folder.name
    root_of(tmp_path, B)
    assert recommend(root, user="1", run=run).notes == [
        "events of b, read after the fit, count as this user's: the ids are the same"
    ]


# ---- labels ----


def highlights(source: str, users: str, videos: str) -> list[dict[str, Any]]:
    return [
        {"user_id": u, "video_id": v, "kind": "highlight", "start_ms": 0, "stop_ms": 5000, "source": source,
         "source_row": n + 1}
        for n, (u, v) in enumerate((u, v) for u in users for v in videos)
    ]  # fmt: skip


def labelled(folder: Path, *logs: list[dict[str, Any]]) -> Root:
    root = root_of(folder, *logs)
    pairs = sorted({(row["user_id"], row["video_id"]) for rows in logs for row in rows})
    Tables(folder).write(
        "labels", [{"user_id": u, "video_id": v, "segment_index": 0, "covered_ms": 5000} for u, v in pairs]
    )
    grid = [
        {"video_id": v, "segment_index": i, "start_ms": 5000 * i, "stop_ms": 5000 * (i + 1),
         "duration_source": "claimed"}
        for v in {v for _, v in pairs} for i in range(3)
    ]  # fmt: skip
    Tables(folder).write("segments", grid)
    return root


def test_labels_are_those_of_the_sources(tmp_path: Path) -> None:
    root = labelled(tmp_path, highlights("a", "uv", "123456"), highlights("b", "uw", "78"))
    with pytest.raises(InputError, match="a and b share 1 users"):
        floors(root)
    data = load_labels(sources.choose(root, ["a"]))
    assert (data.users, data.counts.positives, data.counts.users_without_positives) == (["u", "v"], 12, 0)
    assert floors(root, sources=["a"])["counts"]["test_cases"] == 2
    assert sources.counts(sources.choose(root, ["a"]))["labels_of_other_sources"] == 4


def test_a_label_of_two_sources_is_refused(tmp_path: Path) -> None:
    root = labelled(tmp_path, highlights("a", "u", "12"), highlights("b", "u", "2"))
    with pytest.raises(InputError, match="labels of user 'u' on video '2' come from records of a and of other sources"):
        load_labels(sources.choose(root, ["a"]))


def test_a_root_of_some_sources_stays_so_wherever_it_goes(both: Root) -> None:
    some = both.of_sources(["a"])
    for again in (Root(some), pickle.loads(pickle.dumps(some))):
        assert again == some != both
        assert again.tables.read("events", ["source"])["source"].unique().to_pylist() == ["a"]


# ---- `--data` ----


def ratings(folder: Path, name: str, users: int, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    lines = [
        f"{u},{v},{rng.integers(1, 6)},{1e9 + u:.0f}" for u in range(1, users + 1) for v in rng.permutation(40)[:12] + 1
    ]
    (folder / name).write_text("\n".join(["userId,movieId,rating,timestamp", *lines]))
    return folder / name


def asked(root: Path, **models: dict[str, Any]) -> Settings:
    chosen = {name: ModelSettings(options=options) for name, options in models.items()}
    return Settings(root=root, train=TrainSettings(models=chosen, logger="none"))


def test_a_data_set_is_fitted_alone_in_a_root_that_holds_another(tmp_path: Path) -> None:
    options = {"dim": 4, "epochs": 1, "batch": 64}
    first, second = ratings(tmp_path / "A", "a.csv", 30, 0), ratings(tmp_path / "B", "b.csv", 50, 1)
    for root in ("root", "alone"):
        dataset.read(tmp_path / "root", second)
        result = train_job(asked(tmp_path / root, bpr=options), data=first)
        assert result.fits["bpr"].counts["users"] == 30
        assert result.fits["bpr"].counts["events"] == 360
    rows = [
        train_job(asked(tmp_path / root, bpr=options), data=first).fits["bpr"].metrics for root in ("root", "alone")
    ]
    assert rows[0] == rows[1]


def test_a_run_refuses_after_ingest_and_before_anything_is_extracted(tmp_path: Path) -> None:
    table = ratings(tmp_path / "A", "a.csv", 5, 0)
    Tables(tmp_path / "root").write("events", B)
    source = {"path": table, "format": "mapped",
              "mapping": {"user_id": "userId", "video_id": "movieId", "value": "rating"}}  # fmt: skip
    extract = {"extractors": {"c3d": {"weights": "random"}}}
    settings = Settings.model_validate({"root": tmp_path / "root", "source": source, "extract": extract})
    with pytest.raises(InputError, match=r"a\.csv and b share 5 users and \d+ videos"):
        run(settings)
    assert not (tmp_path / "root" / "features").exists()


def test_a_data_set_whose_attributes_may_be_those_of_another_is_refused(tmp_path: Path) -> None:
    """There is one row for each id in the tables of users and videos, whichever source said it."""
    first, second = ratings(tmp_path / "A", "a.csv", 30, 0), ratings(tmp_path / "B", "b.csv", 50, 1)
    dataset.read(tmp_path / "root", second)
    with pytest.raises(InputError, match=r"fm reads attributes, .* other sources than a.csv name 30 of the same users"):
        of_data(asked(tmp_path / "root", fm={}), first)
    told = asked(tmp_path / "root", fm={})
    told = told.model_copy(update={"train": told.train.model_copy(update={"sources": ["a.csv"]})})
    assert of_data(told, first)[0].train.sources == ["a.csv"]
    assert of_data(asked(tmp_path / "alone", fm={}), first)[0].train.sources == ["a.csv"]


def test_the_dynamic_rnn_reads_watches_and_posts_of_two_sources_if_both_are_named(tmp_path: Path) -> None:
    write(tmp_path, World(users=20, episodes=2, series=2))
    events = Tables(tmp_path).read("events")
    kinds = events["kind"].to_pylist()
    split = ["posts" if kind == "post" else "watches" for kind in kinds]
    Tables(tmp_path).write("events", events.slice(0, 0), covers=["planted"])
    column = events.column_names.index("source")
    Tables(tmp_path).write("events", events.set_column(column, events.schema.field("source"), pa.array(split)))
    with pytest.raises(InputError, match=r"posts and watches share \d+ users"):
        sources.choose(Root(tmp_path))
    assert sources.choose(Root(tmp_path), ["watches", "posts"]).sources == frozenset()


def test_the_report_lists_the_sources_and_says_which_share_ids(both: Root, tmp_path: Path) -> None:
    run = train(both, settings=SETTINGS, sources=["a"], **QUIET).folder
    page = write_report(both, tmp_path / "report.html", title="t", runs=[run]).read_text()
    assert "a and b share 40 users and 50 videos" in page
    assert "<dt>a</dt><dd>480</dd>" in page
    alone = write_report(root_of(tmp_path / "one", A), tmp_path / "one.html", title="t").read_text()
    assert "<h3>Sources</h3>" not in alone
