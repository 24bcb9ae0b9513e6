"""Each network against an independent statement of it, with the same random weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reelmill.extractors.core.inception import I3DNetwork
from reelmill.extractors.weights.load import random_weights
from tests.networks import BATCH, NETWORKS, clip, make


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


@pytest.mark.parametrize("name", NETWORKS)
def test_parity(name: str) -> None:
    extractor = make(name, precision="float32")
    windows = np.stack([clip(extractor, (220, 40, 40), (3, 0), noise=0), clip(extractor, (40, 200, 60), (0, 3))])
    with torch.inference_mode():
        stated = STATEMENTS[name](dict(extractor.network.state_dict()), windows[0])
    features = extractor.forward(windows)
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


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize(("layer", "called"), [("conv5", set()), ("fc6", {"fc6"}), ("fc7", {"fc6", "fc7"})])
def test_c3d_computes_no_layer_that_is_not_needed(layer: str, called: set[str]) -> None:
    extractor = make("c3d", layers=(layer,))
    seen = set()
    for name in ("fc6", "fc7"):
        extractor.network.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.add(name))
    found = extractor.forward(np.zeros((BATCH, 16, 112, 112, 3), np.uint8))
    assert (set(found), seen) == ({layer}, called)
