"""Click-through data and split: from tables and stores written by hand to fields, examples and negatives."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models.baselines.fm import FM, FMSettings
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.protocols.clicks.cases import split
from reelmill.models.protocols.clicks.data import Clicks, load_clicks
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.storage import Block, FeatureWriter, Spec, Tables
from reelmill.storage.errors import InputError

CPU = torch.device("cpu")
FEW = FMSettings(batch=64, test_share=0.2, validation_share=0.2)


def event(user: str, item: str, value: float | None = None, **rest: Any) -> dict[str, Any]:
    kind = "watch" if value is None else "rating"
    return {"user_id": user, "video_id": item, "kind": kind, "value": value, "source": "s", "source_row": 1, **rest}


def store(root: Path, vectors: Mapping[str, list[list[float] | None]], layer: str = "x", rows: str = "segment") -> str:
    """One block a video; None is a row without data."""
    dim = len(next(row for block in vectors.values() for row in block if row))
    spec = Spec("hand", layer, dim, rows)  # type: ignore[arg-type]
    with FeatureWriter(root, spec) as writer:
        for video, block in vectors.items():
            mask = np.array([row is not None for row in block], np.uint8)
            features = np.array([row or [np.nan] * dim for row in block], np.float32)
            index = np.arange(len(block))
            writer.add(Block(video, features, mask, index, index, index + 1))
    return spec.name


def side_tables(root: Path) -> None:
    tables = Tables(root)
    tables.write("users", [
        {"user_id": "u1", "attributes": ["likes=b", "gender=F", "likes=a", "likes=a"]},
        {"user_id": "u0", "attributes": ["gender=M=m"]},
        {"user_id": "nobody", "attributes": ["gender=X", "planet=mars"]},
    ])  # fmt: skip
    tables.write("videos", [
        {"video_id": "v2", "tags": ["drama", "comedy", "drama"], "uploader": "ann", "claimed_duration_ms": 1000},
        {"video_id": "v0", "tags": [], "uploader": "", "claimed_duration_ms": 2000},
        {"video_id": "elsewhere", "tags": ["horror"], "categories": ["c"]},
    ])  # fmt: skip


def two_users(root: Path) -> Clicks:
    side_tables(root)
    Tables(root).write("events", [event("u1", "v2", 5), event("u0", "v0", 1), event("u1", "v0", 3)])
    return load_clicks(root)


def random_root(root: Path, users: int = 30, items: int = 20, **changes: Any) -> Clicks:
    """A rating of each user and item, 1 to 5 stars at random, one second after another."""
    rng = np.random.default_rng(0)
    rows = [
        event(f"u{u:02d}", f"v{i:02d}", float(rng.integers(1, 6)), source_row=n + 1, time=n * 1000, **changes)
        for n, (u, i) in enumerate(rng.permutation([(u, i) for u in range(users) for i in range(items)]).tolist())
    ]
    Tables(root).write("events", rows)
    return load_clicks(root)


# ---- what is read ----


def test_fields_come_from_the_side_tables(tmp_path: Path) -> None:
    found = {column.name: column for column in two_users(tmp_path).columns}
    assert list(found) == ["user_id", "item_id", "gender", "likes", "tags", "uploader", "duration"]
    assert [found[name].side for name in found] == ["user", "item", "user", "user", "item", "item", "item"]
    named = {
        name: [[column.names[code] for code in row if code >= 0] for row in column.table.tolist()]
        for name, column in found.items()
        if column.kind == "category"
    }
    assert named == {
        "user_id": [["u0"], ["u1"]], "item_id": [["v0"], ["v2"]], "gender": [["M=m"], ["F"]],
        "likes": [[], ["a", "b"]], "tags": [[], ["comedy", "drama"]], "uploader": [[], ["ann"]],
    }  # fmt: skip
    np.testing.assert_allclose(found["duration"].table, np.log([[2000], [1000]]), rtol=1e-6)


def test_a_measured_duration_goes_before_a_claimed_one(tmp_path: Path) -> None:
    Tables(tmp_path).write("media", [{
        "video_id": "v2", "uri": "x", "sha256": "0", "bytes": 1, "container": "mp4", "codec": "h264", "width": 1,
        "height": 1, "rotation": 0, "mean_fps": 1.0, "variable_rate": False, "frame_count": 9, "start_ms": 0,
        "duration_ms": 9000,
    }])  # fmt: skip
    duration = two_users(tmp_path).columns[-1]
    np.testing.assert_allclose(duration.table, np.log([[2000], [9000]]), rtol=1e-6)


def test_the_newest_rating_counts(tmp_path: Path) -> None:
    Tables(tmp_path).write("events", [
        event("u", "a", 5, time=2000, source_row=1), event("u", "a", 1, time=1000, source_row=2),
        event("u", "b", 2, source_row=3), event("u", "b", 4, source_row=4),
        event("u", "c"),
    ])  # fmt: skip
    data = load_clicks(tmp_path)
    assert data.rated
    assert (data.items, data.value.tolist()) == (["a", "b"], [5.0, 4.0])
    assert (data.counts["events"], data.counts["events_repeated"]) == (4, 2)


def test_rows_of_segments_are_averaged_where_they_are_usable(tmp_path: Path) -> None:
    two_users(tmp_path)
    name = store(tmp_path, {"v2": [[1, 2], None, [3, 6]], "other": [[0, 0]]})
    data = load_clicks(tmp_path, picture=name, sound="", text="")
    picture = data.columns[-1]
    np.testing.assert_array_equal(picture.table, [[np.nan, np.nan], [2, 4]])
    assert (picture.kind, picture.side, data.stores) == ("modality", "item", {"picture": name})
    assert data.counts["items_without_picture"] == data.counts["items_not_extracted_picture"] == 1
    assert data.counts["rows_without_data_picture"] == 1


@pytest.mark.parametrize("rows", ["video", "window"])
def test_any_store_of_videos_serves(tmp_path: Path, rows: str) -> None:
    two_users(tmp_path)
    data = load_clicks(tmp_path, sound=store(tmp_path, {"v2": [[1, 2]], "v0": [[3, 4]]}, rows=rows))
    np.testing.assert_array_equal(data.columns[-1].table, [[3, 4], [1, 2]])


def test_the_fingerprint_sees_all_that_is_seen(tmp_path: Path) -> None:
    prints = []
    for n in range(6):
        root = tmp_path / str(n)
        two_users(root)
        vectors = {"v2": [[1.0, 2.0]], "v0": [[3.0, 4.0 + (n == 2)]]}
        if n == 3:
            Tables(root).write("users", [{"user_id": "u0", "attributes": ["gender=F"]}])
        if n == 4:
            Tables(root).write("events", [event("u1", "v2", 4, source="t")])
        role = "sound" if n == 5 else "picture"
        prints.append(load_clicks(root, **{role: store(root, vectors)}).fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5


# ---- examples ----


def test_stars_are_clicks_or_none_or_left_out(tmp_path: Path) -> None:
    data = random_root(tmp_path)
    parts = split(data, FEW, np.random.default_rng(0))
    every = (parts.train, parts.validation, parts.test)
    assert sum(map(len, every)) == (data.value != 3).sum() == 600 - parts.counts["ratings_between"]
    assert sum(int(part.label.sum()) for part in every) == (data.value >= 4).sum() == parts.counts["clicks"]
    assert len(parts.test) == len(parts.validation) == round(0.2 * (data.value != 3).sum())
    value = data.value.reshape(30, 20)
    for part in every:
        np.testing.assert_array_equal(part.label, value[part.user, part.item] >= 4)
    keys = np.concatenate([part.user * 20 + part.item for part in every])
    assert len(set(keys.tolist())) == len(keys)
    wider = split(data, replace(FEW, disliked=4.0), np.random.default_rng(0))
    assert wider.counts["ratings_between"] == 0
    assert wider.counts["low_ratings"] == (data.value < 4).sum()


def test_by_time_the_newest_are_the_test(tmp_path: Path) -> None:
    data = random_root(tmp_path)
    parts = split(data, replace(FEW, split="time"), np.random.default_rng(0))
    time = data.time.reshape(30, 20)
    spans = [time[part.user, part.item] for part in (parts.train, parts.validation, parts.test)]
    assert spans[0].max() < spans[1].min() <= spans[1].max() < spans[2].min()


def test_a_published_split_stays(tmp_path: Path) -> None:
    for name, (low, high) in {"train": (0, 20), "validation": (20, 25), "test": (25, 30), "other": (30, 31)}.items():
        rows = [
            event(f"u{u}", f"v{i}", 5 - 4.0 * ((u + i) % 2), source=name) for u in range(low, high) for i in range(4)
        ]
        Tables(tmp_path).write("events", rows)
    parts = split(load_clicks(tmp_path), replace(FEW, split="given"), np.random.default_rng(0))
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [80, 20, 20]
    assert parts.counts["events_of_no_part"] == 4
    assert parts.counts["test_of_unseen_users"] == 20


def watched(root: Path, users: int = 12, items: int = 9) -> Clicks:
    """Each user watched half of the items or so; the last one all of them."""
    rng = np.random.default_rng(1)
    pairs = [(u, i) for u in range(users) for i in range(items) if u == users - 1 or rng.random() < 0.5]
    Tables(root).write("events", [event(f"u{u:02d}", f"v{i}", source_row=n) for n, (u, i) in enumerate(pairs)])
    return load_clicks(root)


@pytest.mark.parametrize("per_click", [1, 3])
def test_sampled_negatives_are_never_clicked(tmp_path: Path, per_click: int) -> None:
    data = watched(tmp_path)
    assert not data.rated
    settings = replace(FEW, per_click=per_click, batch=16)
    task = ClickTask("fm", FM, data, settings, CPU)
    parts = task.split
    clicked = {(u, i) for u, i in zip(data.user.tolist(), data.item.tolist(), strict=True)}
    trained = {(u, i) for u, i in zip(parts.train.user.tolist(), parts.train.item.tolist(), strict=True)}
    test = task.test()
    here = list(zip(test.user.tolist(), test.item.tolist(), test.label.tolist(), strict=True))
    assert all(((u, i) in clicked) == bool(label) for u, i, label in here)
    room = sum(1 for u, _, label in here if label and u != 11)
    assert len(test) == len(parts.test) + per_click * room
    assert task.test().item.tolist() == test.item.tolist()
    drawn = []
    generator = torch.Generator().manual_seed(0)
    names = task.vocabulary
    for batch in (batch for _ in range(2) for batch in task.batches(generator)):
        codes = zip(batch.values["user_id"][:, 0].tolist(), batch.values["item_id"][:, 0].tolist(), strict=True)
        for (u, i), label in zip(codes, batch.label.tolist(), strict=True):
            pair = data.users.index(names["user_id"][u]), data.items.index(names["item_id"][i])
            assert (pair in trained) == bool(label)
            drawn.append((pair, label))
    clicks = sum(1 for _, label in drawn if label)
    assert len(drawn) == clicks * (1 + per_click)
    assert task.counts["train_clicks"] == clicks // 2 + task.counts["train_clicks_without_negative"]


def test_ratings_with_sampled_negatives_use_the_clicks_alone(tmp_path: Path) -> None:
    data = random_root(tmp_path)
    parts = split(data, replace(FEW, negatives="sampled"), np.random.default_rng(0))
    assert parts.train.label.all()
    assert parts.counts["low_ratings_unused"] == parts.counts["low_ratings"] == (data.value < 3).sum()


# ---- on the device ----


def test_values_are_those_of_the_tables(tmp_path: Path) -> None:
    side_tables(tmp_path)
    rows = [(u, v) for u in range(4) for v in (0, 2, 3)]
    Tables(tmp_path).write("events", [event(f"u{u}", f"v{v}", 5 - 4.0 * ((u + v) % 2)) for u, v in rows])
    name = store(tmp_path, {"v2": [[1, 2], [3, 6]], "v0": [[0, 1]]})
    data = load_clicks(tmp_path, picture=name)
    task = ClickTask("fm", FM, data, FMSettings(test_share=0.25, validation_share=0, seed=5), CPU)
    user, item = torch.tensor([1, 0]), torch.tensor([1, 2])  # u1 and v2, u0 and v3
    values = task.values(user, item)
    np.testing.assert_array_equal(values["picture"], [[2, 4], [np.nan, np.nan]])
    assert values["duration"].isnan().tolist() == [[False], [True]]
    codes = {name: row.tolist() for name, row in values.items() if row.dtype == torch.int64}
    said = {
        name: [[task.vocabulary[name][code] for code in row if code >= 0] for row in rows]
        for name, rows in codes.items()
    }
    assert said["tags"][1] == said["likes"][1] == []
    assert said["tags"][0] in (["comedy", "drama"], [])  # [] if training never saw the film
    assert said["user_id"] == [["u1"], ["u0"]]
    model = task.model(torch.Generator().manual_seed(0))
    trained = [i for i in task.items if i != 2]
    mean = np.array([[0, 1], [2, 4]])[trained].mean(0)
    np.testing.assert_allclose(model.standard.mean[-2:], mean)


def test_what_training_never_saw_has_no_code(tmp_path: Path) -> None:
    rows = [event(f"u{u}", f"v{i}", 5 - 4.0 * ((u + i) % 2), source="train") for u in range(4) for i in range(4)]
    late = [event(f"u{u}", f"v{i}", 5 - 4.0 * ((u + i) % 2), source="test") for u in (3, 4) for i in (3, 4, 5)]
    Tables(tmp_path).write("events", rows)
    Tables(tmp_path).write("events", late)
    Tables(tmp_path).write("videos", [{"video_id": f"v{i}", "tags": [f"t{i // 2}", "all"]} for i in range(6)])
    task = ClickTask("fm", FM, load_clicks(tmp_path), FMSettings(split="given"), CPU)
    assert {name: len(words) for name, words in task.vocabulary.items()} == {"user_id": 4, "item_id": 4, "tags": 3}
    values = task.values(torch.tensor([4, 0]), torch.tensor([4, 5]))
    assert values["user_id"].tolist() == [[-1], [0]]
    assert values["item_id"].tolist() == [[-1], [-1]]
    assert [[task.vocabulary["tags"][c] for c in row if c >= 0] for row in values["tags"].tolist()] == [
        ["all"],
        ["all"],
    ]
    assert task.counts["test_of_unseen_items"] == 4
    assert np.isfinite(task.predict(task.model(torch.Generator()), task.test())).all()


def test_item_ids_are_dropped_in_batches_alone(tmp_path: Path) -> None:
    data = random_root(tmp_path)
    task = ClickTask("fm", FM, data, replace(FEW, drop_items=0.3), CPU)
    lost = torch.cat([b.values["item_id"] for b in task.batches(torch.Generator().manual_seed(0))]) < 0
    assert 0.2 < float(lost.float().mean()) < 0.4
    assert not bool((task.values(*task.train[:2])["item_id"] < 0).any())


def test_chosen_fields(tmp_path: Path) -> None:
    data = random_root(tmp_path)
    task = ClickTask("fm", FM, data, replace(FEW, fields="item_id, user_id"), CPU)
    assert [field.name for field in task.fields] == ["user_id", "item_id"]
    with pytest.raises(InputError, match="there is no 'item'; did you mean 'item_id'"):
        ClickTask("fm", FM, data, replace(FEW, fields="user_id,item"), CPU)


# ---- bad input ----


def test_a_root_without_events(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no event of kind rating, highlight or watch"):
        load_clicks(tmp_path)


def test_stores_that_do_not_fit(tmp_path: Path) -> None:
    two_users(tmp_path)
    with pytest.raises(InputError, match="one row a post"):
        load_clicks(tmp_path, text=store(tmp_path, {"u1": [[1.0]]}, "posts", "post"))
    with pytest.raises(InputError, match="holds no usable row of any item"):
        load_clicks(tmp_path, text=store(tmp_path, {"elsewhere": [[1.0]], "v0": [None]}, "few"))
    with pytest.raises(InputError, match="no store 'nothing'"):
        load_clicks(tmp_path, text="nothing")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [("gender", "must be name=value"), ("=F", "must be name=value"), ("tags=x", "'tags' needs a name of its own"),
     ("two words=x", "without comma or space")],
)  # fmt: skip
def test_bad_attributes(tmp_path: Path, attribute: str, message: str) -> None:
    side_tables(tmp_path)
    Tables(tmp_path).write("events", [event("u0", "v2", 5)])
    Tables(tmp_path).write("users", [{"user_id": "u0", "attributes": [attribute]}])
    with pytest.raises(InputError, match=message):
        load_clicks(tmp_path)


def constant(root: Path) -> str:
    return store(root, {f"v{i:02d}": [[1.0, 2.0]] for i in range(20)})


def test_constant_features_are_refused(tmp_path: Path) -> None:
    random_root(tmp_path)
    task = ClickTask("fm", FM, load_clicks(tmp_path, picture=constant(tmp_path)), FEW, CPU)
    with pytest.raises(InputError, match="'picture' is constant"):
        task.model(torch.Generator())


def test_a_modality_of_test_items_alone(tmp_path: Path) -> None:
    for source, items in (("train", (0, 1)), ("test", (2, 3))):
        rows = [event(f"u{u}", f"v{i}", 5 - 4.0 * ((u + i) % 2), source=source) for u in range(4) for i in items]
        Tables(tmp_path).write("events", rows)
    data = load_clicks(tmp_path, picture=store(tmp_path, {"v2": [[1.0]], "v3": [[2.0]]}))
    with pytest.raises(InputError, match="'picture': no item of the training has any"):
        ClickTask("fm", FM, data, FMSettings(split="given"), CPU).model(torch.Generator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(FEW, split="given"), "sources called train, validation, test"),
        (replace(FEW, liked=6.0), "0 are clicks"),
        (replace(FEW, disliked=0.0), "are none: both are needed"),
        (replace(FEW, fields="user_id,"), "there is no ''"),
    ],
)
def test_settings_that_do_not_fit_the_data(tmp_path: Path, settings: FieldSettings, message: str) -> None:
    data = random_root(tmp_path)
    with pytest.raises(InputError, match=message):
        ClickTask("fm", FM, data, settings, CPU)


def test_no_times_no_ratings_no_modalities(tmp_path: Path) -> None:
    data = watched(tmp_path)
    with pytest.raises(InputError, match="events have no time; say split: random"):
        ClickTask("fm", FM, data, replace(FEW, split="time"), CPU)
    with pytest.raises(InputError, match="say negatives: sampled"):
        ClickTask("fm", FM, data, replace(FEW, negatives="rated"), CPU)
    with pytest.raises(InputError, match="no store for picture, sound or text"):
        ClickTask("multimodal", Multimodal, data, MultimodalSettings(test_share=0.2), CPU)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "times"}, "did you mean 'time'"),
        ({"negatives": "sample"}, "did you mean 'sampled'"),
        ({"liked": 4.0, "disliked": 5.0}, "disliked 5.0: must be at most 4.0"),
        ({"drop_items": 1.5}, "drop_items 1.5"),
        ({"test_share": 0.0}, "test_share 0.0"),
        ({"test_share": 0.5, "validation_share": 0.5}, "leave something to train on"),
        ({"per_click": 0}, "per_click 0"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FieldSettings.from_dict(wrong)
