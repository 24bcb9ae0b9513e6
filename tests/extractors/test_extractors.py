"""The contract that every network keeps, and the settings of them all."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.extractors.core.device import choose_device
from reelmill.extractors.core.network import FrameNetwork
from reelmill.extractors.registry import build
from reelmill.extractors.video.i3d_r50_network import I3DR50
from reelmill.storage.errors import InputError
from reelmill.storage.spec import Spec
from tests.networks import BATCH, NETWORKS, clip, make


@pytest.fixture(scope="module", params=list(NETWORKS))
def extractor(request: pytest.FixtureRequest) -> Iterator[FrameNetwork]:
    """Each extractor in float32, one after another: pytest runs all tests of one before it builds the next."""
    yield make(request.param, precision="float32")
    gc.collect()


@pytest.fixture(scope="module")
def rough(extractor: FrameNetwork) -> FrameNetwork:
    """The same in the precision in which this machine is quick."""
    return make(extractor.name, precision="auto")


@pytest.fixture(scope="module")
def windows(extractor: FrameNetwork) -> np.ndarray:
    """A batch of different clips."""
    return np.stack([clip(extractor, (220, 40, 40), (3, 0), noise=0), clip(extractor, (40, 200, 60), (0, 3), noise=1)])


@pytest.fixture(scope="module")
def features(extractor: FrameNetwork, windows: np.ndarray) -> dict[str, np.ndarray]:
    return extractor.forward(windows)


def test_forward_gives_float32_of_the_dim_in_the_spec(extractor: FrameNetwork, features: dict[str, np.ndarray]) -> None:
    specs = extractor.specs(segment_ms=5000, decoder="pyav-1")
    assert set(features) == set(specs) == set(extractor.layers)
    for layer, vectors in features.items():
        assert vectors.shape == (BATCH, specs[layer].dim)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()


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
