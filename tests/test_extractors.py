"""Each network against an independent statement of it, with the same random weights; the contract all keep."""

import gc
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from extractors.c3d import C3DNetwork
from extractors.checkpoints import CHECKPOINTS, find
from extractors.device import choose_device, choose_precision, native_bfloat16
from extractors.i3d import I3DNetwork
from extractors.network import NetworkExtractor
from extractors.registry import EXTRACTORS, build
from extractors.weights import install, load, random_weights
from storage.errors import InputError
from storage.spec import Spec

BATCH = 2


def make(name: str, **settings: Any) -> NetworkExtractor:
    """With random weights, all layers, on the CPU."""
    defaults = {"layers": tuple(EXTRACTORS[name].dims), "weights": "random", "device": "cpu", "batch_size": BATCH}
    extractor = build(name, **{**defaults, **settings})
    assert isinstance(extractor, NetworkExtractor)
    return extractor


@pytest.fixture(scope="module", params=list(EXTRACTORS))
def extractor(request: pytest.FixtureRequest) -> Iterator[NetworkExtractor]:
    """Each extractor in float32, one after another: pytest runs all tests of one before it builds the next."""
    yield make(request.param, precision="float32")
    gc.collect()


@pytest.fixture(scope="module")
def rough(extractor: NetworkExtractor) -> NetworkExtractor:
    """The same in bfloat16."""
    return make(extractor.name, precision="bfloat16")


@pytest.fixture(scope="module")
def windows(extractor: NetworkExtractor) -> np.ndarray:
    """A batch of different clips."""
    return np.stack([clip(extractor, (220, 40, 40), (3, 0), noise=0), clip(extractor, (40, 200, 60), (0, 3), noise=1)])


@pytest.fixture(scope="module")
def features(extractor: NetworkExtractor, windows: np.ndarray) -> dict[str, np.ndarray]:
    return extractor.forward(windows)


def clip(
    extractor: NetworkExtractor, colour: tuple[int, int, int], move: tuple[int, int], noise: int = 0
) -> np.ndarray:
    """(length, height, width, 3) uint8: a square of a colour on dark noise; `move`: hundredths of the width a frame."""
    size = extractor.geometry.crop[0]
    frames = np.random.default_rng(noise).integers(20, 60, (extractor.windows.length, size, size, 3)).astype(np.uint8)
    for index, frame in enumerate(frames):
        x, y = ((size // 3 + index * step * size // 100) % (size - size // 3) for step in move)
        frame[y : y + size // 3, x : x + size // 3] = colour
    return frames


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row with the same row."""
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# --- the contract ---


def test_forward_gives_float32_of_the_dim_in_the_spec(
    extractor: NetworkExtractor, features: dict[str, np.ndarray]
) -> None:
    specs = extractor.specs(segment_ms=5000, decoder="pyav-1")
    assert set(features) == set(specs) == set(extractor.layers)
    for layer, vectors in features.items():
        assert vectors.shape == (BATCH, specs[layer].dim)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()


def test_the_spec_says_everything(extractor: NetworkExtractor) -> None:
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
def test_forward_refuses_other_shapes_and_types(extractor: NetworkExtractor, windows: np.ndarray, spoil: str) -> None:
    spoilt = {
        "short": windows[:1],
        "small": windows[:, :, :-1],
        "float": windows.astype(np.float32),
        "swapped": np.moveaxis(windows, -1, 1),
    }[spoil]
    with pytest.raises(InputError, match=r"needs uint8 \(2, "):
        extractor.forward(spoilt)


def test_a_vector_is_the_same_alone_and_amid_others(
    extractor: NetworkExtractor, windows: np.ndarray, features: dict[str, np.ndarray]
) -> None:
    alone = np.zeros_like(windows)
    alone[1] = windows[0]  # and at another place in the batch
    alone.flags.writeable = False  # as from shared memory
    for layer, vectors in extractor.forward(alone).items():
        np.testing.assert_array_equal(vectors[1], features[layer][0])


def test_bfloat16_agrees_with_float32(
    rough: NetworkExtractor, windows: np.ndarray, features: dict[str, np.ndarray]
) -> None:
    assert rough.precision == "bfloat16"
    for layer, vectors in rough.forward(windows).items():
        assert cosine(vectors, features[layer]).min() >= 0.999
        apart, apart_rough = (
            np.diff(features[layer], axis=0),
            np.diff(vectors, axis=0),
        )  # without what both have in common
        assert cosine(apart_rough, apart).min() >= 0.98


def test_random_features_tell_look_and_motion_apart(rough: NetworkExtractor) -> None:
    """Clips of one kind, which differ by noise, are nearer to each other than to any of another kind."""
    kinds = [((220, 40, 40), (0, 0)), ((50, 70, 220), (0, 0)), ((220, 40, 40), (3, 0))]
    if rough.windows.length == 1:
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


# --- each network against an independent statement ---


def caffe_pool5(x: np.ndarray) -> np.ndarray:
    """(512, 2, 7, 7) → (512, 1, 4, 4): 2 × 2 × 2 windows, stride 2, clipped at the right and bottom edge."""
    rows = [[x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2, 3)) for j in range(4)] for i in range(4)]
    return np.moveaxis(np.array(rows), 2, 0)[:, None]


def c3d_statement(state: dict[str, torch.Tensor], window: np.ndarray) -> dict[str, np.ndarray]:
    """C3D as the Caffe prototxt lists it, from raw pixels, one window."""
    pixels = window.astype(np.float32) - np.array([104, 117, 128], np.float32)  # RGB: the order of this checkpoint
    x = torch.from_numpy(pixels).permute(3, 0, 1, 2)
    for name in ("1a", "pool1", "2a", "pool", "3a", "3b", "pool", "4a", "4b", "pool", "5a", "5b"):
        if name.startswith("pool"):
            time = 1 if name == "pool1" else 2
            c, t, h, w = x.shape
            x = x.reshape(c, t // time, time, h // 2, 2, w // 2, 2).amax(dim=(2, 4, 6))
        else:
            x = F.conv3d(x, state[f"conv{name}.weight"], state[f"conv{name}.bias"], padding=1).clamp(min=0)
    conv5 = x.numpy()
    fc6 = state["fc6.weight"].numpy() @ caffe_pool5(conv5).reshape(8192) + state["fc6.bias"].numpy()
    fc7 = state["fc7.weight"].numpy() @ np.maximum(fc6, 0) + state["fc7.bias"].numpy()
    return {"conv5": conv5.mean(axis=(1, 2, 3)), "fc6": np.maximum(fc6, 0), "fc7": np.maximum(fc7, 0)}


def vgg19_statement(state: dict[str, torch.Tensor], window: np.ndarray) -> dict[str, np.ndarray]:
    """torchvision's network, run whole, tapped after its own ReLUs; its own pixel arithmetic."""
    from torchvision.models import VGG19_Weights, vgg19

    with torch.device("meta"):
        net = vgg19(weights=None).eval()
    net.load_state_dict(state, assign=True)
    found = {}
    for layer, index in (("fc6", 1), ("fc7", 4)):
        net.classifier[index].register_forward_hook(
            lambda _module, _input, output, layer=layer: found.update({layer: output.clone().numpy()[0]})
        )
    transform = VGG19_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    net(transform(torch.from_numpy(window[0]).permute(2, 0, 1))[None])
    return found


def i3d_r50_statement(state: dict[str, torch.Tensor], window: np.ndarray) -> dict[str, np.ndarray]:
    """pytorchvideo's network, run whole; what its classifier is given, and the mean over the positions it is given."""
    from pytorchvideo.models.hub import i3d_r50

    with torch.device("meta"):
        net = i3d_r50().eval()
    net.load_state_dict(state, assign=True)
    found = {}
    net.blocks[6].proj.register_forward_hook(lambda _module, given, _output: found.update(x=given[0].numpy()))
    net((torch.from_numpy(window).permute(3, 0, 1, 2)[None].float() / 255 - 0.45) / 0.225)
    return {"pool5": found["x"].reshape(-1, 2048).mean(axis=0)}


BRANCHES = {  # of each Inception block, in order, by its name in both files of weights; the last follows the pool
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
}
I3D_STEPS = (
    *("Conv3d_1a_7x7", (1, 3, 3), "Conv3d_2b_1x1", "Conv3d_2c_3x3", (1, 3, 3), "Mixed_3b", "Mixed_3c", (3, 3, 3)),
    *(f"Mixed_4{letter}" for letter in "bcdef"),
    *((2, 2, 2), "Mixed_5b", "Mixed_5c"),
)
"""Names of units and blocks; kernels of the pools, whose strides are 2 where the kernel is larger than 1."""


def i3d_padded(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float) -> torch.Tensor:
    """TensorFlow's SAME: n mod s decides how much, the smaller half goes in front."""
    pads = [(0, 0), (0, 0)]
    for n, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(k - (n % s or s), 0)
        pads.append((total // 2, total - total // 2))
    return torch.from_numpy(np.pad(x.numpy(), pads, constant_values=value))


def i3d_mixed_5c(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Inception I3D as the TensorFlow code lists it, up to Mixed_5c: function after function, pools padded with −∞."""

    def unit(name: str, x: torch.Tensor) -> torch.Tensor:
        weight, norm = state[f"{name}.conv3d.weight"], {key: state[f"{name}.bn.{key}"] for key in NORM}
        stride = (2 if name == "Conv3d_1a_7x7" else 1,) * 3
        x = F.conv3d(i3d_padded(x, weight.shape[2:], stride, 0.0), weight, stride=stride)
        scale = norm["weight"] / (norm["running_var"] + 0.001).sqrt()
        shift = norm["bias"] - norm["running_mean"] * scale
        return (x * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)).clamp(min=0)

    def pool(kernel: tuple[int, ...], stride: tuple[int, ...], x: torch.Tensor) -> torch.Tensor:
        x = i3d_padded(x, kernel, stride, -np.inf)
        for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
            x = x.unfold(axis, k, s).amax(-1)
        return x

    for step in I3D_STEPS:
        if isinstance(step, tuple):
            x = pool(step, tuple(min(k, 2) for k in step), x)
        elif step.startswith("Conv"):
            x = unit(step, x)
        else:
            b1, b2 = (unit(f"{step}.{b}b", unit(f"{step}.{b}a", x)) for b in ("b1", "b2"))
            b3 = unit(f"{step}.b3b", pool((3, 3, 3), (1, 1, 1), x))
            x = torch.cat([unit(f"{step}.b0", x), b1, b2, b3], dim=1)
    return x


def i3d_statement(state: dict[str, torch.Tensor], window: np.ndarray) -> dict[str, np.ndarray]:
    """From raw pixels; 16 frames end as one window of 2 × 7 × 7."""
    x = i3d_mixed_5c(state, torch.from_numpy(window).permute(3, 0, 1, 2)[None].float() / 255 * 2 - 1)
    assert x.shape == (1, 1024, 2, 7, 7)
    return {"mixed_5c": x.numpy().mean(axis=(0, 2, 3, 4))}


NORM = ("weight", "bias", "running_mean", "running_var")
STATEMENTS = {"c3d": c3d_statement, "i3d": i3d_statement, "vgg19": vgg19_statement, "i3d_r50": i3d_r50_statement}


def test_parity(extractor: NetworkExtractor, windows: np.ndarray, features: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        stated = STATEMENTS[extractor.name](dict(extractor.network.state_dict()), windows[0])
    assert set(stated) == set(features)
    for layer, vector in stated.items():
        np.testing.assert_allclose(features[layer][0], vector, rtol=1e-3, atol=1e-4 * float(np.abs(vector).max()))


@pytest.mark.parametrize(("channels", "size"), [(3, (16, 32, 64)), (3, (11, 45, 38)), (1, (9, 33, 63))])
def test_i3d_pads_odd_sizes_as_tensorflow_does(channels: int, size: tuple[int, int, int]) -> None:
    """Batch-norm is not the identity here: small variances, so that 1e-3 is not 1e-5. One channel: a spectrogram."""
    net = I3DNetwork(in_channels=channels).eval()
    generator = torch.Generator().manual_seed(1)
    state = dict(random_weights(net, 0, {}).state)
    for key, tensor in state.items():
        if ".bn." in key and tensor.is_floating_point():
            state[key] = torch.rand(tensor.shape, generator=generator) * 0.2 + (0.005 if "var" in key else 0.3)
        if key.endswith("running_var"):
            state[key.replace("running_var", "weight")] = state[key].sqrt()  # keeps the size of what comes out
    net.load_state_dict(state)
    x = torch.rand((2, channels, *size), generator=generator) * 2 - 1
    with torch.inference_mode():
        found, stated = net(x), i3d_mixed_5c(state, x)
    assert found.shape == (2, 1024, -(-size[0] // 8), -(-size[1] // 32), -(-size[2] // 32))
    np.testing.assert_allclose(found, stated, rtol=1e-3, atol=1e-4 * float(stated.abs().max()))


def test_i3d_averages_longer_windows_one_step_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = make("i3d", precision="float32")
    x = torch.rand((1, 1024, 4, 7, 7), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(extractor, "network", lambda _: x)
    per_frame = x.mean(dim=(0, 3, 4)).numpy()
    expected = (per_frame @ np.array([1, 2, 2, 1])) / 6  # pairs 01, 12, 23
    np.testing.assert_allclose(extractor._run(x)["mixed_5c"][0], expected, rtol=1e-5)


# --- the rest needs no network of full size ---


class ThinC3D(C3DNetwork):
    """C3D with a hundredth of the channels: the same names and the same way through."""

    def __init__(self) -> None:
        super().__init__()
        for name, module in list(self.named_children()):
            if isinstance(module, nn.Conv3d):
                channels_in = 3 if name == "conv1a" else 4
                setattr(self, name, nn.Conv3d(channels_in, 4, kernel_size=3, padding=1))
        self.fc6, self.fc7 = nn.Linear(4 * 16, 8), nn.Linear(8, 8)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.c3d.C3DNetwork", ThinC3D)


# --- pixels ---


@pytest.mark.parametrize(
    ("settings", "expected"),
    [  # of the pixel (R, G, B) = (10, 20, 30), channel by channel as the first convolution sees them
        (("vgg19", {}), [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]),
        (("i3d_r50", {}), [(10 / 255 - 0.45) / 0.225, (20 / 255 - 0.45) / 0.225, (30 / 255 - 0.45) / 0.225]),
        (("i3d", {}), [10 / 255 * 2 - 1, 20 / 255 * 2 - 1, 30 / 255 * 2 - 1]),
        (("c3d", {}), [10 - 104, 20 - 117, 30 - 128]),
        (("c3d", {"channel_order": "BGR"}), [30 - 128, 20 - 117, 10 - 104]),
    ],
)
@pytest.mark.usefixtures("thin")
def test_pixels_by_hand(
    settings: tuple[str, dict[str, Any]], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(make(settings[0], precision="float32", **settings[1]), monkeypatch, colour=(10, 20, 30))
    np.testing.assert_allclose(first[1, :, -1, 5, 7], expected, rtol=1e-5)
    np.testing.assert_allclose(first[1, :, -1, 5, 8], first[0, :, 0, 0, 0])  # the pixel beside it is black, as the rest


def prepared(
    extractor: NetworkExtractor, monkeypatch: pytest.MonkeyPatch, colour: tuple[int, int, int]
) -> torch.Tensor:
    """What the network is given for black windows with one coloured pixel: window 1, last frame, row 5, column 7."""
    windows = np.zeros((BATCH, extractor.windows.length, *extractor.geometry.crop, 3), np.uint8)
    windows[1, -1, 5, 7] = colour
    given: list[torch.Tensor] = []

    def run(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        given.append(pixels)
        return dict.fromkeys(extractor.layers, pixels)

    monkeypatch.setattr(extractor, "_run", run)
    extractor.forward(windows)
    return given[0]


@pytest.mark.usefixtures("thin")
def test_the_mean_volume_is_cut_and_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(0).uniform(80, 120, (1, 3, 16, 128, 171)).astype(np.float32)
    np.save(tmp_path / "mean.npy", volume)
    extractor = make("c3d", precision="float32", mean_file=tmp_path / "mean.npy", channel_order="BGR")
    first = prepared(extractor, monkeypatch, colour=(10, 20, 30))
    # rows 8–119 and columns 29–140 of the volume, whose channels are BGR as the network's are here
    np.testing.assert_allclose(first[1, :, 15, 5, 7], np.array([30, 20, 10]) - volume[0, :, 15, 8 + 5, 29 + 7])
    np.testing.assert_allclose(first[0, :, 3, 111, 111], -volume[0, :, 3, 119, 140])
    spec = extractor.specs(segment_ms=5000, decoder="d")["fc6"]
    assert spec.preprocessing["mean"] == {"volume_sha256": sha256(tmp_path / "mean.npy")}
    np.save(tmp_path / "mean.npy", volume[0, 0])
    with pytest.raises(InputError, match="needs"):
        make("c3d", mean_file=tmp_path / "mean.npy")
    with pytest.raises(InputError, match=r"cannot be read as \.npy"):
        make("c3d", mean_file=tmp_path / "none.npy")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- what is computed ---


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize(("layer", "called"), [("conv5", set()), ("fc6", {"fc6"}), ("fc7", {"fc6", "fc7"})])
def test_c3d_computes_no_layer_that_is_not_needed(layer: str, called: set[str]) -> None:
    extractor = make("c3d", layers=(layer,))
    seen = set()
    for name in ("fc6", "fc7"):
        extractor.network.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.add(name))
    found = extractor.forward(np.zeros((BATCH, 16, 112, 112, 3), np.uint8))
    assert (set(found), seen) == ({layer}, called)


# --- checkpoints ---

OURS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7")
OPENMMLAB = (*(f"{name}.conv" for name in OURS[:8]), "fc6", "fc7")
LAYOUTS = {  # checkpoint, what it calls our modules, the classifier that it may bring along
    "plain": ("c3d-sports1m-davidea", ("conv1", "conv2", *OURS[2:]), "fc8"),
    "openmmlab": ("c3d-sports1m-openmmlab", OPENMMLAB, None),
    "recogniser": ("c3d-sports1m-openmmlab", tuple(f"backbone.{name}" for name in OPENMMLAB), "cls_head.fc_cls"),
    "sequential": (
        "c3d-sports1m-jfzhang",
        (*(f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)), "classifier.0", "classifier.3"),
        "classifier.6",
    ),
}


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_c3d_reads_every_layout_of_names(tmp_path: Path, layout: str) -> None:
    name, theirs, classifier = LAYOUTS[layout]
    original = make("c3d", precision="float32", seed=3)
    state = original.network.state_dict()
    renamed = {
        f"{b}.{kind}": state[f"{a}.{kind}"] for a, b in zip(OURS, theirs, strict=True) for kind in ("weight", "bias")
    }
    if classifier is not None:
        renamed[f"{classifier}.weight"] = torch.zeros(487, 8)
    file = tmp_path / CHECKPOINTS[name].file
    torch.save({"state_dict": renamed} if layout == "recogniser" else renamed, file)
    loaded = make("c3d", weights=str(file), weights_sha256=sha256(file), precision="float32")
    assert (loaded.weights_name, loaded.weights_sha256) == (name, sha256(file))
    assert loaded.pixels == CHECKPOINTS[name].pixels
    loaded.pixels, loaded._mean = original.pixels, original._mean  # the same input for both
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, 16, 112, 112, 3)).astype(np.uint8)
    found = loaded.forward(noise)
    for layer, vectors in original.forward(noise).items():
        assert vectors.any()
        np.testing.assert_array_equal(found[layer], vectors)


@pytest.mark.parametrize("counters", [False, True])
@pytest.mark.parametrize("name", ["i3d-kinetics400-piergiaj", "i3d-kinetics400-hassony2"])
def test_i3d_reads_both_layouts_of_names(tmp_path: Path, name: str, counters: bool) -> None:
    """Names of tensors as in the two published files; counters of batches only in those that were saved anew."""
    with torch.device("meta"):
        net = I3DNetwork()
    state = random_weights(net, 5, {}).state
    file = tmp_path / CHECKPOINTS[name].file
    theirs: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked") and not counters:
            continue
        unit, _, rest = key.partition(".conv3d." if ".conv3d." in key else ".bn.")
        part = "conv3d" if ".conv3d." in key else "bn"
        if name.endswith("hassony2"):
            block, _, branch = unit.partition(".")
            unit = f"{block.lower()}.{BRANCHES[branch]}" if branch else block.lower()
            part = part.replace("bn", "batch3d")
        theirs[f"{unit}.{part}.{rest}"] = tensor
    logits = "conv3d_0c_1x1" if name.endswith("hassony2") else "logits"
    theirs |= {f"{logits}.conv3d.weight": torch.zeros(4, 2), f"{logits}.conv3d.bias": torch.zeros(4)}
    torch.save(theirs, file)
    record, path = find(str(file), "i3d")
    assert record.name == name
    install(net, load(record, path=path, sha256=sha256(file)))
    found = net.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


@pytest.mark.usefixtures("thin")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c3d.pickle"
    torch.save({"conv1.weight": torch.zeros(4, 3, 3, 3, 3), "conv9.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=r"19 missing \(conv1a.bias, .*; 1 unexpected \(conv9.weight\)"):
        make("c3d", weights=str(file), weights_sha256=sha256(file))


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
        ("c3d", {"step_ms": 40.0}, "no such setting"),
        ("vgg19", {"channel_order": "BGR"}, "no such setting"),
        ("vgg19", {"windows": 0}, "above 0"),
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
    assert extractor.windows == replace(EXTRACTORS["i3d_r50"].windows, count=2, step_ms=100.0)
    assert EXTRACTORS["i3d_r50"].windows.count is None
    assert extractor.specs(segment_ms=5000, decoder="d")["pool5"].sampling["step_ms"] == 100.0


def test_precision_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = choose_device("cpu")
    for found, precision in (({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"bf16": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert choose_precision("auto", cpu) == precision
    for capability, native in (((7, 5), False), ((8, 0), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device, capability=capability: capability)
        assert native_bfloat16(torch.device("cuda")) == native


def test_device_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXTRACTORS)
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    here, there = make(name, precision="float32"), make(name, precision="float32", device="cuda")
    windows = np.stack([clip(here, (220, 40, 40), (3, 0), noise) for noise in range(BATCH)])
    found = there.forward(windows)
    for layer, vectors in here.forward(windows).items():
        np.testing.assert_allclose(found[layer], vectors, rtol=1e-3, atol=1e-3)
