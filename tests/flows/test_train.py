"""`reelmill train`: recommenders by name, `all`, options, published data sets and planted worlds."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.flows.jobs import fits, places
from reelmill.flows.jobs.results import plain
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import ModelSettings
from reelmill.models.registry import RECOMMENDERS, find, of_papers, settings_for, world_of
from reelmill.pipeline import dataset
from reelmill.storage import Tables, open_store
from reelmill.storage.errors import InputError
from tests.flows.test_cli import reelmill
from tests.optional import needs

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def micro(tmp_path: Path) -> Path:
    """Interactions with a published split, and vectors of two kinds."""
    folder = tmp_path / "micro"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(12) for item in sorted(rng.choice(20, 8, replace=False).tolist())]
    split = ["train", "train", "train", "train", "train", "train", "validation", "test"] * 12
    user, item = zip(*pairs, strict=True)
    table = {"user_id": pa.array(user), "item_id": pa.array(item), "split": pa.array(split).dictionary_encode()}
    pq.write_table(pa.table(table), folder / "interactions.parquet")
    np.save(folder / "image_features.npy", rng.standard_normal((20, 6)).astype(np.float16))
    np.save(folder / "audio_features.npy", rng.standard_normal((20, 4)).astype(np.float32))
    return folder


def test_a_split_becomes_sources_and_vectors_become_stores(tmp_path: Path, micro: Path) -> None:
    found = dataset.read(tmp_path / "root", micro)
    assert (found.kind, [(s.source, s.events) for s in found.sources]) == (
        "interactions", [("train", 72), ("validation", 12), ("test", 12)],
    )  # fmt: skip
    events = Tables(tmp_path / "root").read("events").to_pylist()
    given = pq.read_table(micro / "interactions.parquet").to_pylist()
    assert {(r["user_id"], r["video_id"], r["source"]) for r in events} == {
        (str(r["user_id"]), str(r["item_id"]), r["split"]) for r in given
    }
    assert {row["kind"] for row in events} == {"watch"}
    assert list(found.stores) == ["sound", "picture"]
    picture = open_store(tmp_path / "root", found.stores["picture"])
    np.testing.assert_array_equal(picture.read("7").features[0], np.load(micro / "image_features.npy")[7])
    before = sorted((tmp_path / "root").rglob("part-*"))
    again = dataset.read(tmp_path / "root", micro / "interactions.parquet")
    assert again.stores == found.stores
    assert not any(source.written for source in again.sources)
    assert sorted((tmp_path / "root").rglob("part-*")) == before


def test_interactions_as_csv_and_without_a_split(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user,item,rating,time\na,x,5,10\nb,x,1,20\n")
    (source,) = dataset.read(tmp_path / "root", tmp_path).sources
    assert (source.source, source.events) == ("interactions.csv", 2)
    rows = Tables(tmp_path / "root").read("events", ["kind", "value", "time"]).to_pylist()
    assert [(r["kind"], r["value"], r["time"].timestamp()) for r in rows] == [("rating", 5, 10), ("rating", 1, 20)]
    (tmp_path / "interactions.csv").write_text("user,item,split\na,x,train\nb,x,tset\n")
    with pytest.raises(InputError, match="split 'tset' in row 2; known: train, "):
        dataset.read(tmp_path / "root", tmp_path)


def test_what_is_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a file nor a folder"):
        dataset.read(tmp_path / "root", tmp_path / "none")
    with pytest.raises(InputError, match=r"none of interactions\.parquet"):
        dataset.read(tmp_path / "root", tmp_path)
    for name in ("ratings.csv", "u.data"):
        (tmp_path / name).write_text("userId,movieId,rating,timestamp\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"holds ratings\.csv, u\.data; give one"):
        dataset.read(tmp_path / "root", tmp_path)
    (tmp_path / "likes.csv").write_text(
        "youtubeId,start,duration,user_id,video_duration,is_last\na,0.0,5.0,1,12.0,True\n"
    )
    found = dataset.read(tmp_path / "phd", tmp_path / "likes.csv")
    assert (found.kind, found.labels) == ("phd2", 1)


def test_a_recommender_takes_what_the_data_set_has(tmp_path: Path, micro: Path) -> None:
    settings = fits.choose(load(None, [f"root={tmp_path / 'root'}"]), ["multimodal", "transgrec"], ["epochs=1"])
    chosen, read = places.of_data(settings, micro)
    told = plain(read)
    assert chosen.train.models["multimodal"] == ModelSettings(
        stores={"picture": told["stores"]["picture"], "sound": told["stores"]["sound"], "text": ""},
        options={"split": "given", "epochs": 1},
    )
    assert chosen.train.models["transgrec"].stores == {"features": told["stores"]["picture"]}
    own = load(None, [f"root={tmp_path / 'root'}", "train.models={multimodal: {stores: {sound: ''}}}"])
    stores = places.of_data(own, micro)[0].train.models["multimodal"].stores
    assert stores == {"picture": told["stores"]["picture"], "sound": "", "text": ""}


def test_every_world_has_settings_that_are_settings() -> None:
    for name in RECOMMENDERS:
        world = world_of(name)
        assert world.options
        settings_for(name, world.options)
        assert find(world.name).world == world.planted


def test_a_world_is_written_once_for_its_knobs(tmp_path: Path) -> None:
    settings = fits.choose(load(None, [f"root={tmp_path}"]), ["jifr"], ["epochs=2"])
    knobs = "users=30,items=20,telling=1"
    world = places.of_world(settings, "jifr", knobs)
    said = json.loads((Path(world.root) / "world.json").read_text())
    assert said["knobs"] == {"users": 30, "items": 20, "telling": 1.0}
    assert world.train.models == {
        "jifr": ModelSettings(stores=said["stores"], options={**world_of("jifr").options, "epochs": 2}),
    }
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert places.of_world(settings, "jifr", knobs) == world
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
    assert places.of_world(settings, "jifr", knobs + ",seed=1").root != world.root


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("jifr", "teling=1", "no such knob; did you mean 'telling'"),
        ("jifr", "telling", "give default, or knob=value"),
        ("jifr", "users=many", "users 'many': must be of type int"),
        ("bppr", "default", "model 'bppr': did you mean 'bpr'"),
    ],
)
def test_a_wrong_world_is_told(tmp_path: Path, name: str, knobs: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        places.of_world(load(None, [f"root={tmp_path}"]), name, knobs)
    assert not list(tmp_path.iterdir())


def test_names_and_options_are_checked(tmp_path: Path) -> None:
    settings = load(None, [f"root={tmp_path}", "train.models={jifr: {options: {epochs: 7, dim: 8}}}"])
    every = fits.choose(settings, ["all"], ["epochs=2"]).train.models
    assert list(every) == of_papers()
    assert (every["jifr"].options, every["prnet"].options) == ({"epochs": 2, "dim": 8}, {"epochs": 2})
    assert fits.choose(settings, []).train.models == settings.train.models
    with pytest.raises(InputError, match="recommender 'jiffr': did you mean 'jifr'"):
        fits.choose(settings, ["jiffr"])
    with pytest.raises(InputError, match="give name=value"):
        fits.choose(settings, ["jifr"], ["epochs"])


def test_the_command_fits_a_data_set_and_tells_what_it_cannot(tmp_path: Path, micro: Path) -> None:
    """`all` on data without media: the click-through model is fitted, the others say why not."""
    ended = reelmill("train", "all", "--data", micro, "--root", tmp_path / "root", "-o", "epochs=1", "--json")
    assert ended.returncode == 1, ended.stderr
    figures = json.loads(ended.stdout)
    assert "multimodal" in figures["fits"]
    assert {"auc", "log_loss"} <= {row["metric"] for row in figures["fits"]["multimodal"]["metrics"]}
    assert set(figures["fits"]) | set(figures["unfitted"]) == {*of_papers()}
    assert "store 'c3d-conv5' of prnet (steps) is not there" in figures["unfitted"]["prnet"]
    assert figures["data"]["stores"].keys() == {"picture", "sound"}
    assert "no word occurs twice" in figures["data"]["without"]["text"]
    again = reelmill("train", "all", "--data", micro, "--root", tmp_path / "root", "-o", "epochs=1", "--json")
    assert again.returncode == 0, "nothing failed that had not failed before"
    assert json.loads(again.stdout)["unfitted"] == figures["unfitted"]
    assert json.loads(again.stdout)["new_failures"] == []
    wrong = reelmill("train", "--data", micro)
    assert (wrong.returncode, "with the name of a recommender" in wrong.stderr) == (2, True)


def test_a_click_through_model_goes_without_modalities_where_a_data_set_has_none(tmp_path: Path, micro: Path) -> None:
    """As README's line for MovieLens needs it; who asks for modalities is told that there are none."""
    for vectors in micro.glob("*.npy"):
        vectors.unlink()
    settings = load(None, [f"root={tmp_path / 'root'}"])
    chosen, read = places.of_data(fits.choose(settings, ["multimodal"], ["epochs=1"]), micro)
    assert chosen.train.models["multimodal"].options == {"split": "given", "modalities": "none", "epochs": 1}
    assert read.without == {"modalities": "there are no vectors beside the table; multimodal reads the other fields"}
    assert fits.fit(chosen, "multimodal").stores == {}
    asked, _ = places.of_data(fits.choose(settings, ["multimodal"], ["modalities=fused"]), micro)
    with pytest.raises(InputError, match="no store for picture, sound or text; name one, or say modalities: none"):
        fits.fit(asked, "multimodal")


@needs("data", DATA.exists())
@pytest.mark.parametrize(
    ("path", "kind", "events"),
    [("ml-100k", "recbole", 100_000), ("movietweetings-100k", "movielens", 100_000),
     ("tiktok", "interactions", 68_722), ("phd2", "phd2", 0)],
)  # fmt: skip
def test_real_data_sets_are_known(tmp_path: Path, path: str, kind: str, events: int) -> None:
    found = dataset.read(tmp_path, DATA / path)
    assert found.kind == kind
    assert sum(source.rows for source in found.sources) >= events
    assert Tables(tmp_path).read("events", ["user_id"]).num_rows == sum(source.events for source in found.sources) > 0
