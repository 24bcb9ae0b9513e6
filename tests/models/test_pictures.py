"""Pictures of fits: what they show is what the models say, whatever the names are, and equal fits give equal files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from reelmill.models import registry, runs
from reelmill.models.core import charts, plots
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.fit import FitResult, train
from reelmill.models.jifr.plots import FRAMED
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.multimodal.plots import TRAINED
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.prnet.plots import HISTORIES
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.transgrec.settings import TransGRecSettings

CPU = torch.device("cpu")
SVG = "{http://www.w3.org/2000/svg}"
FITS: dict[str, tuple[dict[str, Any], Any]] = {
    "jifr": (
        {"users": 60, "items": 40, "features": 12, "unframed": 0.2},
        JIFRSettings(dim=4, hidden=4, epochs=3, batch=200, test_negatives=20, test_repeats=2),
    ),
    "prnet": ({"users": 40}, PRNetSettings(dim=32, epochs=2, window=64, test_share=0.2)),
    "multimodal": ({"users": 60, "items": 60, "examples": 40}, MultimodalSettings(epochs=2, batch=512)),
    "drnn": (
        {"users": 120},
        DRNNSettings(
            dim=8, hidden=8, batch=256, epochs=2, least_videos=5, longest=3, memory=8, test_share=0.4, network="both",
            least_posts=1,
        ),
    ),
    "transgrec": (
        {"users": 40, "old_videos": 12, "new_videos": 6, "segments": 8},
        TransGRecSettings(dim=8, batch=200, epochs=2),
    ),
}  # fmt: skip
"""{recommender: (knobs of its world, settings)}."""
Fit = Callable[[str], FitResult]


def own_plots(name: str) -> Callable[[Any, Any], plots.Plots]:
    """What draws the plots that only this recommender has."""
    draw = registry.find(name).plots
    assert draw is not None
    return draw


def planted(name: str, root: Path, knobs: dict[str, Any]) -> dict[str, str]:
    """Write the recommender's world; its stores by role."""
    world = registry.world_of(name).planted
    return world.write(root, world.knobs(**knobs))


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Fits of small worlds, each done once."""
    done: dict[str, FitResult] = {}

    def of(name: str) -> FitResult:
        if name not in done:
            root, (knobs, settings) = tmp_path_factory.mktemp(name), FITS[name]
            done[name] = train(root, planted(name, root, knobs), settings, model=name)
        return done[name]

    return of


def rebuilt(result: FitResult) -> tuple[Any, Any]:
    """Task and settled model of a fit."""
    fitted, recommender = runs.load(result.folder), registry.find(result.folder.name.split("-")[0])
    stores = {role: fitted.stores.get(role, "") for role in recommender.roles}
    data = recommender.load(result.folder.parents[1], **stores)
    task = recommender.task(data, fitted.settings, CPU)
    task.evaluate(fitted.model)
    return task, fitted.model


@pytest.fixture
def drawn(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the charts are asked to draw from now on, by the chart's name."""
    for name in FITS:
        fit(name)
    asked: dict[str, list[Any]] = {}
    for name in ("curves", "heat", "small_bars", "histogram", "stacked", "scatter", "groups"):
        monkeypatch.setattr(charts, name, lambda *given, name=name: asked.setdefault(name, []).append(given) or b"")
    return asked


# ---- files of a run ----


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("jifr", {"frames", "sight"}),
        ("prnet", {"attention_1", "attention_2", "attention_3"}),
        ("multimodal", {"modalities", "pairs", "groups"}),
        ("drnn", {"memory", "months"}),
        ("transgrec", {"t_sne", "groups"}),
    ],
)
def test_a_run_has_its_pictures(fit: Fit, name: str, own: set[str]) -> None:
    result = fit(name)
    files = {path.stem: path.read_bytes() for path in (result.folder / "plots").iterdir()}
    assert set(files) == {"loss", "validation"} | own
    for svg in files.values():
        drawing = ElementTree.fromstring(svg)
        assert drawing.tag == f"{SVG}svg"
        assert not drawing.findall(f".//{SVG}script")
        assert len(svg) < 200_000
    task, model = rebuilt(result)
    assert {key: files[key] for key in own - {"groups"}} == own_plots(name)(task, model)  # to the byte


def test_pictures_can_be_left_out(fit: Fit, tmp_path: Path) -> None:
    knobs, settings = FITS["jifr"]
    result = train(tmp_path, planted("jifr", tmp_path, knobs), settings, model="jifr", pictures=False)
    assert not (result.folder / "plots").exists()
    assert result.metrics["rows"] == fit("jifr").metrics["rows"]


# ---- what they show ----


def test_curves_show_the_history(drawn: dict[str, list[Any]]) -> None:
    history = [{"epoch": e, "loss": 3.0 - e, "bpr": 1.0, "validation_map": e / 4, "seconds": 9.0} for e in (1, 2)]
    assert set(plots.draw("fm", None, None, None, history, 2, {"rows": []})) == {"loss", "validation"}
    (loss, *_, best), (validation, *_) = drawn["curves"]
    assert {name: values.tolist() for name, values in loss.items()} == {"loss": [2.0, 1.0], "bpr": [1.0, 1.0]}
    assert {name: values.tolist() for name, values in validation.items()} == {"map": [0.25, 0.5]}
    assert best == 2


def test_attention_adds_up_to_one_and_marks_are_the_users(fit: Fit, drawn: dict[str, list[Any]]) -> None:
    task, model = rebuilt(fit("prnet"))
    own_plots("prnet")(task, model)
    assert len(drawn["heat"]) == 3
    steps = np.diff(task.data.steps.start)
    for rows, names, *_, title in drawn["heat"]:
        user, video = title.split(" on ")
        case = next(
            c for c in range(len(task.test))
            if (task.data.users[task.test.user[c]], task.data.videos[task.test.video[c]]) == (user, video)
        )  # fmt: skip
        usable = ~np.isnan(rows[0])
        first, last = task.test.start[case : case + 2]
        assert rows.shape[1] == steps[task.test.video[case]]
        np.testing.assert_array_equal(rows[0, usable], task.test.relevant[first:last])
        known = (task.past.of(task.test.user[[case]], task.test.video[[case]]) >= 0).sum()
        assert len(names) == len(rows) == 2 + min(known, HISTORIES)
        if known <= HISTORIES:
            np.testing.assert_allclose(rows[1:, usable].sum(axis=0), 1, rtol=1e-5)
        assert (rows[1:, usable].sum(axis=0) < 1 + 1e-5).all()
        assert (np.diff(rows[2:, usable].max(axis=1)) <= 0).all()  # the strongest first


def test_frames_have_the_weights_that_make_the_items(fit: Fit, drawn: dict[str, list[Any]]) -> None:
    """With α and the features, x of eq. 5 comes out as the model kept it."""
    task, model = rebuilt(fit("jifr"))
    own_plots("jifr")(task, model)
    ((panels, *_),) = drawn["small_bars"]
    assert len(panels) == FRAMED
    names = [task.data.items[i] for i in task.split.items]
    for title, alpha in panels:
        item = names.index(title.split(" · ")[0])
        raw = torch.from_numpy(next(task.data.vectors(task.split.items[[item]])))
        x = torch.from_numpy(alpha) @ model.p(model.standardise(raw))
        torch.testing.assert_close(x.detach(), model.final_items[item], rtol=1e-4, atol=1e-6)
        raters = torch.from_numpy(task.split.train[0][task.split.train[1] == item])
        sight = float(model.balance(raters, torch.full_like(raters, item))[:, 1].mean())
        assert title.endswith(f"β₂ {sight:.2f}")
    ((percent, *_),) = drawn["histogram"]
    assert len(percent) == (task.data.frame_count[task.split.items] > 0).sum()


def test_modalities_and_pairs_are_the_means_of_what_is_explained(fit: Fit, drawn: dict[str, list[Any]]) -> None:
    task, model = rebuilt(fit("multimodal"))
    own_plots("multimodal")(task, model)
    test = task.test()
    seen = model.explain(task.values(torch.from_numpy(test.user), torch.from_numpy(test.item)))
    ((ticks, shares, *_),) = drawn["stacked"]
    assert list(shares) == model.modality_names == ["picture", "sound"]
    np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-5)
    trained = np.bincount(task.split.train.user, minlength=60)[test.user]
    low, high = TRAINED[ticks[-1].split("\n")[0]]
    many = torch.from_numpy((low <= trained) & (trained < high)) & (seen.modalities.sum(1) > 0)
    assert shares["picture"][-1] == pytest.approx(float(seen.modalities[many, 0].mean()), rel=1e-5)
    ((square, rows, columns, _, title, _),) = drawn["heat"]
    pair = dict(zip(model.pair_names, seen.crossing.mean(0).tolist(), strict=True))
    for (one, other), weight in pair.items():
        assert square[rows.index(other), columns.index(one)] == pytest.approx(weight, rel=1e-5)
    assert np.isfinite(square).sum() == len(pair)
    assert title == "strongest: " + " × ".join(max(pair, key=pair.__getitem__))


def test_memory_decays_and_the_months_add_up_to_the_list(fit: Fit, drawn: dict[str, list[Any]]) -> None:
    result = fit("drnn")
    task, model = rebuilt(result)
    own_plots("drnn")(task, model)
    ((_, shares, *_),) = drawn["stacked"]
    assert set(shares) == {"watched videos", "posts"}
    assert sum(values.sum() for values in shares.values()) == pytest.approx(1)
    past = task.watched.until(torch.from_numpy(task.test), torch.full((len(task.test),), task._known_until))
    ages = [past.age[a:b].double().numpy() for a, b in zip(past.start[:-1], past.start[1:], strict=True) if b > a]
    new = np.mean([np.exp(-0.1 * age[age < 1]).sum() / np.exp(-0.1 * age).sum() for age in ages])
    assert shares["watched videos"][0] == pytest.approx(new / 2, rel=1e-5)
    ((lines, *_),) = drawn["curves"]
    precision = next(r for r in result.metrics["rows"] if r["row"] == "drnn" and r["metric"] == "precision@5")
    assert lines["precision"].sum() == pytest.approx(precision["mean"])
    assert len(lines["F"]) == 3


def test_the_forms_of_an_item_stand_apart(fit: Fit, drawn: dict[str, list[Any]]) -> None:
    """v and v̂, of the same scale, lie nearer to each other than to v⁰; at depth 0 v is v⁰, and is left out."""
    task, model = rebuilt(fit("transgrec"))
    own_plots("transgrec")(task, model)
    ((places, colours),) = drawn["scatter"]
    assert dict(zip(places, colours, strict=True)) == {
        "v⁰ before the graph": "#dc2626", "v after it": "#2563eb", "v̂ transferred": "#16a34a",
    }  # fmt: skip
    assert all(place.shape == (len(task.items), 2) and np.isfinite(place).all() for place in places.values())
    _, y, _, v = model.propagate(task.graph)
    near = [np.linalg.norm(x.detach().numpy()[:, None] - x.detach().numpy(), axis=2) for x in (y, v)]
    for form, place in zip(near, (places["v⁰ before the graph"], places["v after it"]), strict=True):
        shown = np.linalg.norm(place[:, None] - place, axis=2)
        assert np.corrcoef(form.ravel(), shown.ravel())[0, 1] > 0.2
    model.settings = TransGRecSettings(depth=0)
    own_plots("transgrec")(task, model)
    assert set(drawn["scatter"][1][0]) == {"v⁰ before the graph", "v̂ transferred"}


def test_what_a_model_lacks_is_not_drawn(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = rebuilt(fit("jifr"))
    monkeypatch.setattr(model, "visual", None)
    assert set(own_plots("jifr")(task, model)) == {"sight"}
    monkeypatch.setattr(model, "rating", None)
    assert own_plots("jifr")(task, model) == {}


# ---- charts ----


def words(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["a\x07\x1b[31m", "\ud800", "<script>alert(1)</script>", "$x$ & 日本", "x" * 999])
def test_any_name_gives_a_whole_file(name: str) -> None:
    cell = {"mean": 0.5, "low": 0.4, "high": 0.7}
    flat = np.array([0.5, 0.5])
    for svg in (
        charts.heat(np.ones((1, 2)), [name], [name, "b"], "x", name),
        charts.heat(np.ones((1, 2)), [name], (), "x", name),
        charts.points([name], {name: [cell], "none": [None]}, "x", "y", strong=name, joined=True),
        charts.curves({name: flat}, "x", "y", 1),
        charts.stacked([name, "b"], {name: flat}, "x", "y"),
        charts.small_bars([(name, flat)] * 3, "x", "y"),
        charts.whiskers([{**cell, "name": name, "strong": True}], "x"),
        charts.groups([{**cell, "row": name, "group": name, "metric": "map", "cases": 3}], name),
    ):
        text = words(svg)
        assert any(charts.short(name)[:4] in word for word in text), text
        assert max(map(len, text)) <= 60
        assert b"<script" not in svg


def test_numbers_of_many_sizes_get_a_readable_log_scale() -> None:
    text = words(charts.curves({"a": np.array([1e4, 2e4]), "b": np.array([0.1, 0.3])}, "x", "y"))
    assert {"0.1", "10000"} <= set(text)
    assert not any("math" in word for word in text)


def test_a_chart_of_nothing_but_zeros() -> None:
    for svg in (
        charts.curves({"a": np.zeros(3)}, "x", "y", 1),
        charts.heat(np.zeros((2, 2)), ["a", "b"], (), "x", "t"),
        charts.heat(np.ones((2, 2)), ["a", "b"], ["c", "d"], "x", "t", None),
        charts.stacked(["a"], {"b": np.zeros(1)}, "x", "y"),
    ):
        assert ElementTree.fromstring(svg).tag == f"{SVG}svg"
