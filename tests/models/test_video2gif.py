"""Video2GIF and PHD-GIFs: the perceptron and its loss against a statement with plain loops, gradients, what a draw may
be, what a history is made of."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.baselines.video2gif import PHDGIFsSettings, Video2GIFSettings
from reelmill.models.baselines.video2gif.model import Batch, Perceptron
from reelmill.models.registry import settings_for
from reelmill.storage.errors import InputError

DIM, SHAPE = 5, {"hidden_1": 4, "hidden_2": 3}


def model(history: int, **changes: object) -> Perceptron:
    settings = PHDGIFsSettings.from_dict({**SHAPE, "l2": 0.01, **changes})
    built = Perceptron(settings, DIM, history).double().initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        built.out.weight.mul_(2)  # so that pairs fall on all parts of the loss
        for name, parameter in built.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return built


def batch(history: int) -> Batch:
    """Forty positives with two others each; a half of the hidden numbers is left out."""
    generator = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    kept = tuple((drawn(40, 3, width) > 0).double() * 2 for width in SHAPE.values())
    return Batch(drawn(40, 3, DIM), drawn(40, DIM) if history else None, (kept[0], kept[1]))


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def plain_score(net: Perceptron, x: np.ndarray, past: np.ndarray | None, kept: tuple[np.ndarray, np.ndarray]) -> float:
    """h of the concatenation, one segment at a time."""
    given, weight = x, array(net.segment.weight)
    if net.past is not None:
        assert past is not None
        given, weight = np.concatenate([x, past]), np.concatenate([weight, array(net.past.weight)], axis=1)
    first = np.maximum(weight @ (DIM**0.5 * given) + array(net.segment.bias), 0) * kept[0]
    second = np.maximum(array(net.middle.weight) @ first + array(net.middle.bias), 0) * kept[1]
    return float((array(net.out.weight) @ second + array(net.out.bias))[0])


@pytest.mark.parametrize("history", [0, 1])
@pytest.mark.parametrize("delta", [0.8, 1.5])
def test_the_loss_is_the_huber_loss_of_each_pair(history: int, delta: float) -> None:
    net, given = model(history, delta=delta), batch(history)
    terms, parts = [], set()
    for b in range(40):
        past = None if given.history is None else array(given.history[b])
        kept = [array(part[b]) for part in given.kept]
        h = [plain_score(net, array(given.features[b, k]), past, (kept[0][k], kept[1][k])) for k in range(3)]
        for other in h[1:]:
            u = 1 - h[0] + other
            parts.add("zero" if u <= 0 else "square" if u <= delta else "line")
            terms.append(0 if u <= 0 else 0.5 * u * u if u <= delta else delta * u - 0.5 * delta**2)
    weights = [array(layer.weight) for layer in (net.segment, net.past, net.middle, net.out) if layer is not None]
    expected = np.mean(terms) + 0.5 * 0.01 * sum((w**2).sum() for w in weights)
    assert float(net.loss(given)["loss"].detach()) == pytest.approx(expected, rel=1e-12)
    assert parts == {"zero", "square", "line"}


@pytest.mark.parametrize("history", [0, 1])
def test_gradients_against_finite_differences(history: int) -> None:
    net, given = model(history), batch(history)
    names = [name for name, _ in net.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        with_values = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(net, given), with_values)

    assert torch.autograd.gradcheck(loss, tuple(p.detach().requires_grad_() for p in net.parameters()))


class Loss(torch.nn.Module):
    def __init__(self, model: Perceptron, given: Batch) -> None:
        super().__init__()
        self.model, self.given = model, given

    def forward(self) -> Tensor:
        return self.model.loss(self.given)["loss"]


def test_hidden_numbers_start_with_the_spread_that_he_gives_them() -> None:
    """Whatever the dimension of features of length 1."""
    for dim in (16, 1024):
        net = Perceptron(Video2GIFSettings(), dim, 0).initialise(torch.Generator().manual_seed(0))
        x = torch.randn(500, dim, generator=torch.Generator().manual_seed(1)) / dim**0.5
        assert float(net.segment(dim**0.5 * x).detach().std()) == pytest.approx(2**0.5, rel=0.1)


def test_figures_of_the_papers_are_the_defaults_and_whole_videos_are_refused() -> None:
    first, second = Video2GIFSettings(), PHDGIFsSettings()
    assert (first.hidden_1, first.hidden_2, first.delta, first.batch) == (512, 128, 1.5, 50)
    assert (first.optimiser, first.learning_rate, first.l2, first.dropout) == ("sgd", 1e-3, 1e-3, 0.5)
    assert (second.hidden_1, second.hidden_2, second.optimiser, second.negatives) == (512, 128, "adam", 10)
    with pytest.raises(InputError, match="split 'given': its items are whole videos"):
        settings_for("video2gif", {"split": "given"})
    with pytest.raises(InputError, match="did you mean 'adam'"):
        settings_for("phdgifs", {"optimiser": "adm"})


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_the_optimiser_is_the_one_that_is_named(name: str, kind: type) -> None:
    net = model(0, optimiser=name)
    assert isinstance(net.optimizer(list(net.parameters()), 0.1), kind)
