"""The contract that every extractor of the registry keeps: networks, sound and text; and the settings of them all."""

import gc
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.extractors.core.device import choose_device
from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.core.settings import Compute
from reelmill.extractors.registry import EXTRACTORS, build, descriptors, settings_for
from reelmill.extractors.text.fitted import Encoder
from reelmill.extractors.text.words import Document
from reelmill.extractors.video.i3d_r50_network import I3DR50
from reelmill.pipeline.extract.videos import ExtractOptions, extract
from reelmill.storage import open_store
from reelmill.storage.blocks import NO_DATA
from reelmill.storage.errors import InputError
from reelmill.storage.spec import Spec
from tests.extractors.subjects import DOCUMENTS, SEGMENT_MS, Subject
from tests.media import make_video
from tests.networks import BATCH, NETWORKS, clip, cosine, make
from tests.pipeline.test_extract import video


@pytest.fixture(scope="module", params=list(EXTRACTORS))
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each extractor of the registry, one after another: pytest runs all tests of one before it builds the next."""
    yield Subject(request.param)
    gc.collect()


# --- the contract: every extractor of the registry, without being told of any ---


def test_the_registry_knows_it(subject: Subject) -> None:
    about = subject.about
    assert EXTRACTORS[about.name]
    assert about in descriptors()
    assert about.input in ("frames", "sound", "text")
    assert about.paper
    assert set(about.default_layers) <= about.layers.keys()
    assert about.default_layers


def test_every_setting_has_a_meaning_and_comes_back(subject: Subject) -> None:
    rows = {row.name: row for row in subject.about.settings.rows()}
    assert "layers" in rows
    assert all(row.meaning for row in rows.values())
    default = settings_for(subject.about.name, {})
    assert settings_for(subject.about.name, default.to_dict()) == default
    chosen = settings_for(subject.about.name, {"layers": list(subject.about.layers)})
    assert chosen.layers == tuple(subject.about.layers)
    assert settings_for(subject.about.name, json.loads(json.dumps(chosen.to_dict()))) == chosen != default


def test_it_refuses_what_it_does_not_have(subject: Subject) -> None:
    layer = next(iter(subject.about.layers))
    for wrong, told in (
        ({"layers": [layer + "x"]}, f"layer '{layer}x' of {subject.about.name}: did you mean '{layer}'"),
        ({"layers": []}, "at least one"),
        ({"layers": [layer, layer]}, "each once"),
        ({"layers": layer}, "must be a list of names"),
        ({"layerz": [layer]}, f"{subject.about.name} has no setting 'layerz': did you mean 'layers'"),
    ):
        with pytest.raises(InputError, match=told):
            settings_for(subject.about.name, wrong)
    numbers = [row.name for row in subject.about.settings.rows() if isinstance(row.default, int)]
    for name in {*numbers, "batch_size"} & {field.name for field in fields(subject.about.settings)}:
        for value in (-1, "many", [1], float("nan")):
            with pytest.raises(InputError, match=name):
                settings_for(subject.about.name, {name: value})
    with pytest.raises(InputError, match="layer 'nope'"):  # settings that were made by hand
        subject.about.load()(subject.about.settings(layers=("nope",)), Compute("cpu"))


def test_its_spec_is_stable_and_can_be_a_key(subject: Subject) -> None:
    specs = subject.specs()
    assert set(specs) == set(subject.extractor.layers) == set(subject.about.layers)
    for layer, spec in specs.items():
        assert (spec.extractor, spec.layer) == (subject.about.name, layer)
        again = Spec.from_json(spec.to_json())
        assert (again, hash(again), again.name) == (spec, hash(spec), spec.name)
        assert {spec: layer}[again] == layer
    assert len({spec.name for spec in specs.values()}) == len(specs)
    assert subject.specs() == specs


def test_vectors_are_float32_of_the_dimension_in_the_spec(subject: Subject) -> None:
    specs = subject.specs()
    assert subject.known.keys() == specs.keys()
    for layer, vectors in subject.known.items():
        assert vectors.shape == (2, specs[layer].dim)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
    assert any(vectors[0].tobytes() != vectors[1].tobytes() for vectors in subject.known.values())


def test_a_vector_does_not_depend_on_its_neighbours_or_its_place(subject: Subject) -> None:
    """The size of a batch changes nothing without a network; with one it moves the last bits (see NetworkExtractor)."""
    first, second, third = subject.inputs(3)
    for mixed, place in (([second, first], 1), ([third, first], 1), ([first], 0)):
        for layer, vectors in subject.vectors(mixed).items():  # type: ignore[arg-type]
            assert vectors[place].tobytes() == subject.known[layer][0].tobytes()


def test_the_same_settings_give_the_same_again(subject: Subject) -> None:
    """What is drawn, weights or what is learned, comes from the seed alone."""
    torch.manual_seed(5)
    state, drawn = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    again = subject.make()
    assert torch.equal(state, torch.get_rng_state())
    assert np.random.get_state()[1].tobytes() == drawn  # noqa: NPY002
    assert subject.specs(again) == subject.specs()
    for layer, vectors in subject.vectors(subject.inputs(2), again).items():
        assert vectors.tobytes() == subject.known[layer].tobytes()
    if "seed" in {field.name for field in fields(subject.about.settings)}:
        other = subject.make(seed=1)
        assert not {spec.name for spec in subject.specs(other).values()} & {s.name for s in subject.specs().values()}
        drawn_anew = subject.vectors(subject.inputs(2), other)
        assert any(vectors.tobytes() != subject.known[layer].tobytes() for layer, vectors in drawn_anew.items())


def test_the_precision_is_part_of_the_spec_of_a_network(subject: Subject) -> None:
    for layer, spec in subject.specs(subject.rough).items():
        assert spec.precision == getattr(subject.rough, "precision", "float32")
        assert (spec == subject.specs()[layer]) == (spec.precision == "float32")
    for layer, vectors in subject.vectors(subject.inputs(2), subject.rough).items():
        assert vectors.dtype == np.float32
        assert cosine(vectors, subject.known[layer]).min() > 0.99


def test_where_nothing_is_known_the_row_is_masked(subject: Subject, tmp_path: Path) -> None:
    """No known word, no sound, or fewer frames than a window has: never a silent zero."""
    if isinstance(subject.extractor, Encoder):
        nothing = [Document(()), DOCUMENTS[0], Document.of("unheard")]
        for vectors in subject.vectors(nothing).values():
            assert np.isnan(vectors).all(1).tolist() == [True, False, True]
    elif isinstance(plan := subject.extractor.plan, FramePlan):
        too_short = max(int(plan.windows.step_ms), 1)  # one frame
        chosen, padded = plan.windows.choose(np.zeros(1), 0, too_short)
        assert chosen.tolist() == [[0] * plan.windows.length]
        assert padded.tolist() == [plan.windows.length > 1]
    else:
        silent = video(make_video(tmp_path / "silent.mp4", frames=30))
        options = ExtractOptions(segment_ms=SEGMENT_MS, thumbnail_height=0)
        assert extract(str(tmp_path), [silent], [subject.extractor], options).failed == {}
        for layer in subject.extractor.layers:
            block = open_store(tmp_path, f"{subject.about.name}-{layer}").read("silent.mp4")
            assert set(block.mask.tolist()) == {NO_DATA}
            assert np.isnan(block.features).all()


def test_files_that_are_missing_are_named_before_the_work(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths that the settings name; and published weights that are not here and cannot be fetched."""
    about = subject.about
    for key in about.settings.paths({row.name: "a/b.pt" for row in about.settings.rows()}):
        with pytest.raises(InputError, match=rf"{key} .*none\.pt of {about.name}: no such file"):
            about.check_files(settings_for(about.name, {key: str(tmp_path / "none.pt")}))
    if any(record.file for record in about.checkpoints):
        monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path))
        monkeypatch.setenv("no_proxy", "*")
        record = replace(about.checkpoints[0], url="http://127.0.0.1:9/none")
        monkeypatch.setattr(about.load(), "about", replace(about, checkpoints=(record,)))
        with pytest.raises(InputError) as error:
            subject.make(weights="default")
        assert str(tmp_path / record.file) in str(error.value)
        assert "weights: random" in str(error.value)
        assert list(tmp_path.iterdir()) == []


# --- networks of frames ---


OF_FRAMES = pytest.mark.parametrize("subject", list(NETWORKS), indirect=True)


@pytest.fixture
def extractor(subject: Subject) -> FrameNetwork:
    """In float32."""
    assert isinstance(subject.extractor, FrameNetwork)
    return subject.extractor


@pytest.fixture
def rough(subject: Subject) -> FrameNetwork:
    """The same in the precision in which this machine is quick."""
    assert isinstance(subject.rough, FrameNetwork)
    return subject.rough


@pytest.fixture
def windows(extractor: FrameNetwork) -> np.ndarray:
    """A batch of different clips."""
    return np.stack([clip(extractor, (220, 40, 40), (3, 0), noise=0), clip(extractor, (40, 200, 60), (0, 3), noise=1)])


@OF_FRAMES
def test_the_spec_says_everything(extractor: FrameNetwork) -> None:
    spec = extractor.specs(segment_ms=5000, decoder="pyav-1", rows="window")[extractor.layers[0]]
    assert Spec.from_json(spec.to_json()) == spec
    assert (spec.extractor, spec.rows, spec.decoder, spec.precision) == (extractor.name, "window", "pyav-1", "float32")
    assert spec.weights == "random-0"
    assert len(spec.weights_sha256) == 64
    assert spec.sampling.keys() == {"kind", "length", "step_ms", "count", "padding", "segment_ms"}
    assert {"crop", "filter", "scaler", "antialias", "order", "mean", "std", "divisor"} < spec.preprocessing.keys()
    assert len({spec.name for spec in extractor.specs(segment_ms=5000, decoder="pyav-1").values()}) == len(
        extractor.layers
    )


@OF_FRAMES
@pytest.mark.parametrize("spoil", ["short", "small", "float", "swapped"])
def test_forward_refuses_other_shapes_and_types(extractor: FrameNetwork, windows: np.ndarray, spoil: str) -> None:
    spoilt = {
        "short": windows[:1],
        "small": windows[:, :, :-1],
        "float": windows.astype(np.float32),
        "swapped": np.moveaxis(windows, -1, 1),
    }[spoil]
    with pytest.raises(InputError, match=r"needs uint8 \(2, "):
        extractor.forward(spoilt)


@OF_FRAMES
def test_random_features_tell_look_and_motion_apart(rough: FrameNetwork) -> None:
    """Clips of one kind, which differ by noise, are nearer to each other than to any of another kind."""
    kinds = [((220, 40, 40), (0, 0)), ((50, 70, 220), (0, 0)), ((220, 40, 40), (3, 0))]
    if rough.plan.windows.length == 1:
        kinds = kinds[:2]  # a frame has no motion
    clips = np.stack([clip(rough, *kind, noise=noise) for noise in (0, 1) for kind in kinds])
    clips = np.concatenate([clips, clips[: -len(clips) % BATCH]])
    parts = [rough.forward(clips[start : start + BATCH]) for start in range(0, len(clips), BATCH)]
    for layer in rough.layers:
        vectors = np.concatenate([part[layer] for part in parts])[: 2 * len(kinds)]
        distances = np.linalg.norm(vectors[: len(kinds), None] - vectors[None, len(kinds) :], axis=2)
        same = distances.diagonal()
        other = np.where(np.eye(len(kinds), dtype=bool), np.inf, distances).min(axis=1)
        assert (other > 1.3 * same).all(), (layer, same, other)
        assert 0.1 < vectors.std() < 10  # neither died out nor blown up on the way
        assert (vectors.std(axis=0) > 0).mean() > 0.4


# --- settings ---


@pytest.mark.usefixtures("thin")
def test_every_setting_that_changes_numbers_changes_the_fingerprint(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.zeros((3, 16, 128, 171), np.float32))

    def fingerprint(segment_ms: int = 5000, decoder: str = "d", rows: Any = "segment", **settings: Any) -> str:
        extractor = make("c3d", **{"precision": "float32", **settings})
        return extractor.specs(segment_ms=segment_ms, decoder=decoder, rows=rows)["fc6"].fingerprint

    same = [fingerprint(), fingerprint(batch_size=7), fingerprint(layers=["fc6"])]
    changed = [
        fingerprint(segment_ms=4000),
        fingerprint(decoder="e"),
        fingerprint(rows="window"),
        fingerprint(windows=4),
        fingerprint(seed=1),
        fingerprint(precision="bfloat16"),
        fingerprint(channel_order="BGR"),
        fingerprint(mean_file=tmp_path / "mean.npy"),
    ]
    assert len(set(same)) == 1
    assert len({same[0], *changed}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("c3", {}, "did you mean 'c3d'"),
        ("c3d", {"layer": ("fc6",)}, "did you mean 'layers'"),
        ("c3d", {"layers": ("fc8",)}, "did you mean 'fc[67]'"),
        ("c3d", {"layers": ()}, "at least one"),
        ("c3d", {"layers": ("fc6", "fc6")}, "each once"),
        ("c3d", {"step_ms": 40.0}, "c3d has no setting 'step_ms': it is a setting of i3d, i3d_r50, vgg19"),
        ("vgg19", {"channel_order": "BGR"}, "vgg19 has no setting 'channel_order': it is a setting of c3d$"),
        ("vgg19", {"windows": 0}, "above 0"),
        ("vgg19", {"frames": 16}, "vgg19 has no setting 'frames': it is a setting of i3d$"),
        ("i3d", {"frames": 65, "weights": "random"}, "frames 65: must be from 16 to 64"),
        ("vgg19", {"step_ms": -1.0}, "above 0"),
        ("vgg19", {"batch_size": 0}, "above 0"),
        ("vgg19", {"weights": "vgg19-imagnet"}, "did you mean 'vgg19-imagenet'"),
        ("vgg19", {"weights": "random", "weights_sha256": "0" * 64}, "reads no file"),
        ("vgg19", {"device": "tpu"}, "give auto, cpu"),
        ("vgg19", {"device": "cuda:99"}, "finds"),
        ("vgg19", {"precision": "float16"}, "give auto, float32 or bfloat16"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        build(name, **settings)


def test_windows_and_spacing_are_settings() -> None:
    extractor = make("i3d_r50", windows=2, step_ms=100)
    assert extractor.plan.windows == replace(I3DR50.plan.windows, count=2, step_ms=100.0)
    assert I3DR50.plan.windows.count is None
    assert extractor.specs(segment_ms=5000, decoder="d")["pool5"].sampling["step_ms"] == 100.0


def test_i3d_takes_longer_windows() -> None:
    extractor = make("i3d", frames=24, batch_size=1)
    assert extractor.plan.shape() == (24, 224, 224, 3)
    assert extractor.specs(segment_ms=5000, decoder="d")["mixed_5c"].sampling["length"] == 24
    still = np.random.default_rng(0).integers(0, 255, (1, 1, 224, 224, 3), np.uint8).repeat(24, 1)
    assert extractor.forward(still)["mixed_5c"].shape == (1, 1024)


def test_device_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
