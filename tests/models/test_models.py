"""The contract of every recommender of the registry, and of a toy one that is registered here by one line: what a
descriptor promises; wrong data are told or counted, never silently left out; fits repeat and survive a kill; what is
fitted can be loaded, recommended from and reported."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from reelmill.models import list_runs, load_run, recommend, registry, train, write_report
from reelmill.models.core.base import ClosedForm, Model
from reelmill.models.core.recommender import PlantedWorld, Recommender
from reelmill.models.core.settings import FitSettings
from reelmill.models.core.training import Training
from reelmill.models.fit import FitResult
from reelmill.models.metrics.untrained import FLOORS
from reelmill.models.recommendations import Recommendations
from reelmill.models.registry import RECOMMENDERS, Entry, find, settings_for, world_of
from reelmill.storage import Block, FeatureWriter, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, list_stores

TOY = Entry("tests.models.toy:RECOMMENDER", "clicks, by a sum over fields")
NAMES = [*RECOMMENDERS, "toy"]
READING = [*(name for name in RECOMMENDERS if world_of(name).roles != {}), "toy"]
"""Those that read stores of their worlds."""
READING_VIDEOS = [name for name in READING if name == "toy" or set(find(name).roles) != {"posts"}]
"""Those of them that read features of videos."""
EPOCHS = 2
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    """One more recommender; nothing else knows of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECOMMENDERS, "toy", TOY)
        yield


@dataclass(frozen=True)
class Planted:
    """A recommender on its planted world."""

    name: str
    root: Path
    stores: dict[str, str]
    """{role: store}."""

    @property
    def recommender(self) -> Recommender:
        """Its descriptor."""
        return find(self.name)

    @property
    def settings(self) -> FitSettings:
        """A short fit."""
        return settings_for(self.name, {**world_of(self.name).options, "epochs": EPOCHS})

    @property
    def epochs(self) -> int:
        """Of that fit; a closed form may have fewer."""
        kind = load_run(self.fit().folder).model
        return EPOCHS if not isinstance(kind, ClosedForm) or kind.passes is None else min(EPOCHS, kind.passes)

    def fit(self, root: Path | None = None, pictures: bool = False, **how: Any) -> FitResult:
        """Fit, on this root or on another one with equal stores."""
        given = {"settings": self.settings, "logger": "none", "pictures": pictures, **how}
        return train(root or self.root, self.stores, model=self.name, **given)

    def linked(self, place: Path, *folders: str) -> Path:
        """Another root with these folders of this one."""
        for folder in folders:
            (place / folder).symlink_to(self.root / folder)
        return place


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, str]]]:
    """Root and stores of a small planted world by its name, each written once."""
    written: dict[str, tuple[Path, dict[str, str]]] = {}

    def of(name: str) -> tuple[Path, dict[str, str]]:
        if name not in written:
            root, planted = tmp_path_factory.mktemp(name), world_of(name).planted
            written[name] = root, planted.write(root, planted.knobs(**planted.small))
        return written[name]

    return of


@pytest.fixture(params=NAMES, scope="module")
def planted(request: pytest.FixtureRequest, world: Callable[[str], tuple[Path, dict[str, str]]]) -> Planted:
    found = world_of(request.param)
    root, stores = world(found.name)
    return Planted(request.param, root, found.stores(stores))


reading_stores = pytest.mark.parametrize("planted", READING, indirect=True)


@pytest.fixture(scope="module")
def fitted(planted: Planted) -> FitResult:
    """With its plots."""
    return planted.fit(pictures=True)


# ---- what the descriptor promises ----


@pytest.mark.parametrize("name", NAMES)
def test_a_descriptor_is_complete_and_its_options_are_options(name: str) -> None:
    recommender, world = find(name), world_of(name)
    assert recommender.name == name
    assert recommender.paper
    assert 0 < len(RECOMMENDERS[name].title) <= 72
    assert recommender.optional <= set(recommender.roles)
    assert recommender.version >= 1
    assert (recommender.writes == ()) == (recommender.write is None)
    assert set(world.roles or {}) <= set(recommender.roles)
    assert {"seed", "noise_twin"} <= {field.name for field in fields(world.planted.knobs)}
    assert world.planted.knobs(**world.planted.small) != world.planted.knobs()
    for options in (world.options, *(preset.options for preset in recommender.presets.values())):
        settings = settings_for(name, options)
        assert recommender.settings.from_dict(settings.to_dict()) == settings
    assert all(preset.source for preset in recommender.presets.values())


@pytest.mark.parametrize("name", NAMES)
def test_settings_round_trip_and_refuse_what_they_do_not_know(name: str) -> None:
    kind = find(name).settings
    changed = {"seed": 7, "epochs": 3, "patience": 1, "batch": 9, "learning_rate": 0.5}
    settings = settings_for(name, changed)
    assert {key: settings.to_dict()[key] for key in changed} == changed
    assert kind.from_dict(settings.to_dict()) == settings
    assert [field.name for field in fields(kind)] == list(settings.to_dict())
    for wrong in ({"epoch": 3}, {"epochs": "3"}, {"epochs": 0}, {"seed": -1}, {"learning_rate": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            settings_for(name, wrong)


def test_five_recommenders_are_the_papers() -> None:
    assert registry.of_papers() == ["transgrec", "jifr", "prnet", "multimodal", "drnn"]


def test_a_recommender_without_a_world_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.models.toy.RECOMMENDER", replace(find("toy"), world=None))
    with pytest.raises(InputError, match="no world is planted for 'toy'"):
        world_of("toy")


def test_what_names_recommenders_imports_no_torch() -> None:
    """The command line lists them all; and those with a folder can be looked at."""
    code = (
        "import sys\n"
        "from reelmill.models import registry, runs, fit\n"
        "for name, entry in registry.RECOMMENDERS.items():\n"
        "    module = entry.descriptor.partition(':')[0]\n"
        "    if module.startswith('reelmill.models.baselines.') and '.fm' in module:\n"
        "        continue\n"
        "    registry.find(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---- a fit ----


def test_it_fits_and_leaves_nothing_out_silently(planted: Planted, fitted: FitResult) -> None:
    """Every test case is in a table, and the counts say what was left out."""
    rows = {row["row"] for row in fitted.metrics["rows"]}
    assert {planted.name, "random"} <= rows
    assert all(np.isfinite(row["mean"]) for row in fitted.metrics["rows"])
    assert all(isinstance(count, int) for count in fitted.counts.values())
    assert fitted.counts
    assert fitted.metrics["fit"]["epochs"] == planted.epochs
    assert set(fitted.written) == {layer.partition("-")[2] for layer in planted.recommender.writes}
    assert set(fitted.written.values()) <= set(list_stores(planted.root))


def test_the_values_of_its_cases_give_its_means(planted: Planted, fitted: FitResult) -> None:
    """And every ranking that is no floor has a verdict against the best one."""
    table = pq.read_table(f"{fitted.folder}/cases.parquet")
    kept = table.group_by(["ranking", "metric"]).aggregate([("value", "mean"), ("value", "count")]).to_pylist()
    means = {(row["ranking"], row["metric"]): (row["value_mean"], row["value_count"]) for row in kept}
    compared = 0
    for row in fitted.metrics["rows"]:
        assert ("verdict" in row) == (row["row"] not in FLOORS)
        assert row["best_floor"] in FLOORS
        if (row["row"], row["metric"]) in means:
            compared += 1
            assert means[row["row"], row["metric"]] == (pytest.approx(row["mean"], abs=1e-9), row["cases"])
    assert compared >= len(fitted.metrics["rows"]) // 2
    tests = {row["test"] for row in table.select(["test"]).group_by("test").aggregate([]).to_pylist()}
    assert {*fitted.metrics["cases"]} == tests != set()


def test_fitting_again_finds_the_complete_run(planted: Planted, fitted: FitResult) -> None:
    again = planted.fit(pictures=True)
    assert again.skipped
    assert not fitted.skipped
    assert (again.folder, again.metrics, again.written) == (fitted.folder, fitted.metrics, fitted.written)
    assert fitted.folder in [run.folder for run in list_runs(planted.root)]


class Killed(BaseException):
    """Stands for a signal in the middle of an epoch."""


def test_a_fit_killed_in_an_epoch_ends_with_the_numbers_of_an_unbroken_one(
    planted: Planted, fitted: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal seeds, equal numbers to the last bit. Killed when all but the last batch of the second epoch are done, or
    before the first batch of a closed form that has one epoch."""
    root, calls = planted.linked(tmp_path, "tables", "features"), {"first": 0, "all": 0}
    built, epochs = Training.__init__, planted.epochs

    def with_a_kill(self: Training, *given: Any) -> None:
        built(self, *given)
        name = "solve" if isinstance(self.network, ClosedForm) else "loss"
        takes_in = getattr(self.network, name)

        def counted(*batch_and_turn: Any) -> dict[str, torch.Tensor]:
            calls["first"] += self.epoch == 0
            calls["all"] += 1
            if calls["all"] == epochs * calls["first"]:
                raise Killed
            return takes_in(*batch_and_turn)

        setattr(self.network, name, counted)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "__init__", with_a_kill)
        with pytest.raises(Killed):
            planted.fit(root, save_every_s=0)
    assert calls["all"] == epochs * calls["first"] > 0
    assert not list_runs(root)
    seen: list[int] = []
    resumed = planted.fit(root, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == [epochs]
    assert resumed.folder.name == fitted.folder.name
    assert resumed.metrics["rows"] == fitted.metrics["rows"]
    first, second = (load_run(result.folder).model.state_dict() for result in (fitted, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_gives_the_very_tables_again(planted: Planted, fitted: FitResult) -> None:
    run, recommender = load_run(fitted.folder), planted.recommender
    assert isinstance(run.model, Model)
    data = recommender.load(planted.root, **{role: run.stores.get(role, "") for role in recommender.roles})
    assert (run.name, run.settings) == (planted.name, planted.settings.found_in(data))
    task = recommender.task(data, run.settings, CPU)
    assert task.evaluate(run.model)["rows"] == fitted.metrics["rows"]
    assert run.identities == task.identities()
    untrained = task.model(torch.Generator().manual_seed(planted.settings.seed)).eval()
    assert any(not torch.equal(value, run.model.state_dict()[name]) for name, value in untrained.state_dict().items())


def test_another_seed_is_another_run_with_other_weights(planted: Planted, fitted: FitResult) -> None:
    other = planted.fit(settings=replace(planted.settings, seed=1, epochs=1))
    assert other.folder.name != fitted.folder.name
    first, second = (load_run(result.folder).model.state_dict() for result in (fitted, other))
    assert any(first[name].shape != second[name].shape or not torch.equal(first[name], second[name]) for name in first)


# ---- data that are wrong ----


def rewritten(planted: Planted, place: Path, value: Callable[[int], float] | None) -> None:
    """The same root with one vector in all usable rows of its stores, each of its `dim` numbers `value(dim)`; without
    `value` no row is usable."""
    planted.linked(place, "tables")
    for name in set(planted.stores.values()):
        store = open_store(planted.root, name)
        with FeatureWriter(place, store.spec) as writer:
            for b in store.blocks():
                mask = b.mask if value else np.full_like(b.mask, NO_DATA)
                vectors = np.full_like(b.features, value(store.spec.dim) if value else np.nan)
                vectors[mask == NO_DATA] = np.nan
                writer.add(Block(b.video_id, vectors, mask, b.segment_index, b.start_ms, b.stop_ms))


@reading_stores
def test_constant_features_are_refused(planted: Planted, tmp_path: Path) -> None:
    rewritten(planted, tmp_path, lambda dim: 1 / dim)
    with pytest.raises(InputError, match=r"constant|the same for all"):
        planted.fit(tmp_path)


@reading_stores
def test_a_store_without_a_usable_row_is_refused(planted: Planted, tmp_path: Path) -> None:
    rewritten(planted, tmp_path, None)
    with pytest.raises(InputError):
        planted.fit(tmp_path)


def test_a_root_without_events_is_refused(planted: Planted, tmp_path: Path) -> None:
    """One that learns from what videos are called (`audiovisual`) needs the table of videos instead."""
    planted.linked(tmp_path, "features")
    for table in ("segments", "videos") if planted.recommender.adviser else ("segments",):
        Tables(tmp_path).write(table, Tables(planted.root).read(table))
    with pytest.raises(InputError, match=r"ingest|no event|nobody"):
        planted.fit(tmp_path)


def test_an_empty_root_is_refused(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        planted.fit(tmp_path)


@reading_stores
def test_a_missing_store_is_named(planted: Planted) -> None:
    role, store = next((role, store) for role, store in planted.stores.items() if store)
    with pytest.raises(InputError, match="no store 'c3d-fc6-0badc0de'"):
        train(planted.root, {**planted.stores, role: "c3d-fc6-0badc0de"}, planted.settings, model=planted.name)
    assert store in list_stores(planted.root)


WITHOUT = {
    "audiovisual": {"picture": "videos_without_picture", "sound": "videos_without_sound"},
    "drnn": {role: f"videos_without_{role}" for role in ("frames", "clips", "text", "topics")},
    "jifr": {"frames": "items_without_frames"},
    "multimodal": {"picture": "items_without_picture", "sound": "items_without_sound"},
    "prnet": {"steps": "videos_without_features"},
    "transgrec": {"features": "videos_without_features"},
}
"""Names, kept in the metrics of old runs, of the count of videos that a role has nothing of."""


def damaged(planted: Planted, place: Path) -> dict[str, int]:
    """The same root without three videos in each store of videos, and with a row that is not finite in a fourth; how
    many videos each role has lost."""
    planted.linked(place, "tables")
    touched, lost = set(Tables(planted.root).read("events")["video_id"].to_pylist()), {}
    for role, name in planted.stores.items():
        store = open_store(planted.root, name)
        usable = [v for v in store.keys() if v in touched and (store.read(v).mask > NO_DATA).any()]  # noqa: SIM118
        without, broken = (usable[:3], usable[3]) if usable else ([], None)  # posts are stored by user
        with FeatureWriter(place, store.spec) as writer:
            for block in store.blocks():
                if block.video_id in without:
                    continue
                features, rows = block.features, np.flatnonzero(block.mask > NO_DATA)
                if block.video_id == broken:
                    features = features.copy()
                    features[rows[0], 0] = np.inf
                    lost[role] = len(without) + int(len(rows) == 1)
                writer.add(
                    Block(block.video_id, features, block.mask, block.segment_index, block.start_ms, block.stop_ms)
                )
    return lost


@pytest.mark.parametrize("planted", READING_VIDEOS, indirect=True)
def test_missing_and_not_finite_features_are_counted(
    planted: Planted, fitted: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Videos without features, and rows that a store calls valid and that are not: our own writer refuses these. What a
    role lacks is counted as `…_without_<role>`, or `…_without_features`."""
    monkeypatch.setattr(Block, "check", lambda self, spec: None)
    lost = damaged(planted, tmp_path)
    assert lost
    assert set(lost) == set(WITHOUT.get(planted.name, lost))
    after = planted.fit(tmp_path)
    for role, number in lost.items():
        names = [
            count for end in (f"_without_{role}", "_without_features", "_without") for count in after.counts
            if count.endswith(end)
        ]  # fmt: skip
        assert names[0] == WITHOUT.get(planted.name, {}).get(role, names[0])
        assert after.counts[names[0]] - fitted.counts[names[0]] == number >= 3, names
    broken = [sum(n for what, n in result.counts.items() if "not_finite" in what) for result in (fitted, after)]
    assert broken[1] - broken[0] == len(lost)
    assert all(np.isfinite(row["mean"]) for row in after.metrics["rows"])


# ---- recommending ----


def asked(planted: Planted, fitted: FitResult, **how: Any) -> Recommendations:
    """An answer from this run, with what holds for any."""
    answer = recommend(planted.root, run=fitted.folder.name, **how)
    ranks = [one["rank"] for one in answer.recommended]
    assert ranks == list(range(1, len(ranks) + 1))
    assert 0 < len(ranks) <= how.get("top", 10)
    assert answer.candidates >= len(ranks)
    assert all(np.isfinite(one["score"]) for one in answer.recommended)
    assert all(("why" in one) == how.get("why", False) for one in answer.recommended)
    assert (answer.run, answer.model) == (fitted.folder.name, planted.name)
    assert (answer.user.id, answer.video) == (how.get("user"), how.get("video"))
    assert answer.unit
    assert answer.user.how
    return answer


def test_it_recommends_to_a_user_with_history(planted: Planted, fitted: FitResult) -> None:
    """Of everything, and the parts or the rank of one video; with reasons for each if they are asked for, which change
    nothing."""
    if planted.recommender.adviser is None:
        with pytest.raises(InputError, match="which does not recommend"):
            recommend(planted.root, run=fitted.folder.name)
        return
    user = pc.min(Tables(planted.root).read("events")["user_id"]).as_py()
    plain, reasoned = (asked(planted, fitted, user=user, top=3, why=why) for why in (False, True))
    assert plain.user.known
    for one, other in zip(plain.recommended, reasoned.recommended, strict=True):
        assert other.pop("why") is not None
        assert one == other
    video = plain.recommended[0]["video_id"]
    alone = asked(planted, fitted, user=user, video=video, why=True)
    assert {one["video_id"] for one in alone.recommended} == {video}
    with pytest.raises(InputError, match="no such video at all"):
        recommend(planted.root, user, "no such video at all", fitted.folder.name)
    with pytest.raises(InputError, match="top 0"):
        recommend(planted.root, user, run=fitted.folder.name, top=0)


@pytest.mark.parametrize("user", ["nobody at all", None])
def test_an_unknown_user_is_said_to_be_unknown_or_refused(
    planted: Planted, fitted: FitResult, user: str | None
) -> None:
    if planted.recommender.adviser is None:
        return
    try:
        assert not asked(planted, fitted, user=user).user.known
    except InputError as error:
        assert (user or "an unnamed user") in str(error)  # noqa: PT017


FROM_CHECKPOINT = ("fm", "deepfm", "bpr", "drnn", "fpmc", "knn", "lfm", "cb")
"""Need no store to recommend an old video, since their checkpoint has everything. The others, new ones too, read it."""


def test_a_missing_store_and_one_of_another_spec_are_refused(
    planted: Planted, fitted: FitResult, tmp_path: Path
) -> None:
    """A checkpoint reads the store of its fit alone, whatever another one is called."""
    if planted.recommender.adviser is None:
        return
    user = pc.min(Tables(planted.root).read("events")["user_id"]).as_py()
    planted.linked(tmp_path, "tables", "runs")
    if planted.name in FROM_CHECKPOINT:
        here, there = (recommend(root, user, run=fitted.folder.name) for root in (planted.root, tmp_path))
        assert here == there
        return
    with pytest.raises(InputError, match=r"reads the store .* which is missing in .* \(there is none\)"):
        recommend(tmp_path, user, run=fitted.folder.name)
    for store in planted.stores.values():
        spec = replace(open_store(planted.root, store).spec, code_version=9)
        with FeatureWriter(tmp_path, spec) as writer:
            for block in open_store(planted.root, store).blocks():
                writer.add(block)
        (tmp_path / "features" / spec.name).rename(tmp_path / "features" / store)
    with pytest.raises(InputError, match=r"that folder holds .* extract again"):
        recommend(tmp_path, user, run=fitted.folder.name)


# ---- the report ----


def test_the_report_shows_its_figures_and_its_plots_with_their_captions(
    planted: Planted, fitted: FitResult, tmp_path: Path
) -> None:
    page = write_report(planted.root, tmp_path / "report.html", title="t", runs=[fitted.folder]).read_text()
    assert f"{planted.name} on {planted.root.name}" in page
    for row in fitted.metrics["rows"]:
        assert f"{row['mean']:.3f}" in page
    kinds = {path.stem.rstrip("_0123456789") for path in (fitted.folder / "plots").iterdir()}
    assert {"loss"} <= kinds
    captions = planted.recommender.captions
    assert set(captions) <= kinds, "a caption of no plot"
    assert kinds - {"loss", "validation", "groups"} <= set(captions), "a plot without a caption"
    for caption in captions.values():
        assert caption.title in page


def test_roles_are_what_the_loader_takes() -> None:
    for name in NAMES:
        recommender = find(name)
        taken = inspect.signature(recommender.load).parameters
        if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            assert {*recommender.roles} <= {*taken} - {"root"}, name


def test_worlds_are_each_written_for_their_owner() -> None:
    for name in NAMES:
        world = world_of(name)
        assert find(world.name).world is world.planted
        assert isinstance(world.planted, PlantedWorld)
        assert (world.name == name) == (world.roles is None)
