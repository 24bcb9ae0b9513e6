"""Fields, log-loss, FM and DeepFM against statements with plain loops."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.baselines.fm import FM, DeepFM, DeepFMSettings, FMSettings, pairs
from reelmill.models.protocols.clicks.fields import (
    Batch,
    Field,
    FieldVectors,
    Reading,
    Values,
    fields_of,
    log_loss,
    perceptron,
    sizes,
)
from reelmill.storage.errors import InputError

FIELDS = [
    Field("user_id", "category", 4, "user"),
    Field("genres", "category", 5, "item"),
    Field("year", "number", 1, "item"),
    Field("picture", "modality", 3, "item"),
]
NAN = float("nan")


def values() -> dict[str, Tensor]:
    """Four examples: all there; one genre; no genre and no picture; nothing but a year."""
    return {
        "user_id": torch.tensor([0, 3, 3, -1]),
        "genres": torch.tensor([[4, 0, 2], [-1, 1, -1], [-1, -1, -1], [-1, -1, -1]]),
        "year": torch.tensor([[0.5], [-1.0], [2.0], [0.3]], dtype=torch.float64),
        "picture": torch.tensor([[1.0, 2, 3], [-1, 0, 2], [NAN, NAN, NAN], [NAN, 1, 1]], dtype=torch.float64),
    }


def batch() -> Batch:
    return Batch(values(), torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64))


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def filled(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter drawn, also those that start at zero."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.7, generator=generator)
    return model


def plain_vectors(vectors: FieldVectors, given: Values, pooling: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Eq. 5 and 6 by one-hot vectors, one example and one field at a time: (B, n, D) and present (B, n)."""
    rows = len(next(iter(given.values())))
    out = np.zeros((rows, len(vectors.fields), vectors.weight[0].shape[1]))
    present = np.zeros(out.shape[:2], bool)
    for b in range(rows):
        for f, (field, weight) in enumerate(zip(vectors.fields, vectors.weight, strict=True)):
            got = given[field.name][b].numpy()
            if field.kind == "category":
                hot = np.zeros(field.size)
                for code in np.atleast_1d(got):
                    if code >= 0:
                        hot[code] += 1
                q = hot.sum()
                present[b, f] = q > 0
                if q:
                    out[b, f] = hot @ array(weight) / (q if pooling == "mean" else 1)
            elif not np.isnan(got).any():
                present[b, f] = True
                out[b, f] = got @ array(weight)
    return out, present


@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize("dim", [1, 3])
def test_field_vectors_are_equations_5_and_6(pooling: str, dim: int) -> None:
    vectors = filled(FieldVectors(FIELDS, dim, pooling, 0.1))
    got, present = vectors(values())
    expected, has = plain_vectors(vectors, values(), pooling)
    np.testing.assert_allclose(array(got), expected, atol=1e-12)
    assert present.numpy().tolist() == has.tolist()
    assert has.tolist()[2:] == [[True, False, True, False], [False, False, True, False]]


def test_an_absent_value_moves_no_weight() -> None:
    vectors = filled(FieldVectors(FIELDS, 2, "mean", 0.1))
    vectors({name: value[3:] for name, value in values().items()})[0].sum().backward()
    for field, weight in zip(FIELDS, vectors.weight, strict=True):
        assert bool(weight.grad.isfinite().all())
        assert bool((weight.grad != 0).any()) == (field.name == "year")


def test_numbers_are_standardised_and_absence_survives() -> None:
    model = filled(FM(FMSettings(dim=2), **sizes(FIELDS)))
    model.standard.measured("year", torch.tensor([0.5]), 2.0)
    model.standard.measured("picture", torch.tensor([1.0, 0.0, -1.0]), 4.0)
    given = model.standard(values())
    np.testing.assert_allclose(array(given["year"]), (values()["year"].numpy() - 0.5) / 2)
    np.testing.assert_allclose(array(given["picture"]), (values()["picture"].numpy() - [1, 0, -1]) / 4)
    assert bool(given["picture"][2].isnan().all())
    assert given["genres"] is not None
    assert given.keys() == values().keys()
    with pytest.raises(InputError, match="did you mean 'year'"):
        model.standard.measured("yeer", torch.zeros(1), 1.0)
    with pytest.raises(InputError, match="is constant"):
        model.standard.measured("year", torch.zeros(1), 0.0)
    same = FM(FMSettings(dim=2), **model.sizes).double()
    same.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(array(same.score(values())), array(model.score(values())))


@pytest.mark.parametrize(("rows", "fields", "dim"), [(3, 4, 5), (1, 2, 1), (2, 1, 3), (2, 6, 2)])
def test_pairs_are_the_double_loop(rows: int, fields: int, dim: int) -> None:
    v = torch.randn(rows, fields, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = v.numpy()
    expected = [sum(float(x[b, i] @ x[b, j]) for i, j in combinations(range(fields), 2)) for b in range(rows)]
    np.testing.assert_allclose(array(pairs(v)), expected, atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_fm(pooling: str) -> None:
    model = filled(FM(FMSettings.from_dict({"dim": 3, "pooling": pooling}), **sizes(FIELDS)))
    found, _ = plain_vectors(model.vectors, values(), pooling)
    v, w = found[..., :-1], found[..., -1]
    assert v.shape == (4, 4, 3)
    for b in range(4):
        expected = model.bias.item() + sum(float(w[b, f]) for f in range(4))
        expected += sum(float(v[b, i] @ v[b, j]) for i, j in combinations(range(4), 2))
        assert model.read(values()).logit[b].item() == pytest.approx(expected, abs=1e-12)
        assert float(model.score(values())[b]) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-12)


def plain_perceptron(layers: torch.nn.Sequential, x: np.ndarray) -> float:
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    for k, layer in enumerate(linear):
        x = array(layer.weight) @ x + array(layer.bias)
        x = np.maximum(x, 0) if k < len(linear) - 1 else x
    return float(x[0])


def test_deepfm_adds_a_perceptron_over_the_same_vectors() -> None:
    model = filled(DeepFM(DeepFMSettings(dim=3, hidden="5-4"), **sizes(FIELDS)))
    wide = FM.read(model, values())
    v = plain_vectors(model.vectors, values())[0][..., :-1]
    for b in range(4):
        expected = wide.logit[b].item() + plain_perceptron(model.deep, np.concatenate(list(v[b])))
        assert model.read(values()).logit[b].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("hidden", ["7", "4-3", "4-3-2"])
def test_perceptron(hidden: str) -> None:
    layers = filled(perceptron(6, hidden))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)][:-1] == [
        int(width) for width in hidden.split("-")
    ]
    for row, got in zip(x.numpy(), layers(x), strict=True):
        assert got.item() == pytest.approx(plain_perceptron(layers, row), abs=1e-12)


def plain_log_loss(logit: np.ndarray, label: np.ndarray) -> float:
    """Eq. 12 with its clip, on ŷ."""
    with np.errstate(over="ignore"):
        y = np.clip(1 / (1 + np.exp(-logit.astype(np.float64))), 1e-7, 1 - 1e-7)
    return float(np.mean([-np.log(p) if t else -np.log(1 - p) for p, t in zip(y, label, strict=True)]))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_log_loss_is_equation_12_clipped(kind: torch.dtype) -> None:
    logit = torch.tensor([-1e30, -800.0, -40.0, -3.0, 0.0, 2.0, 17.0, 900.0, 1e30], dtype=kind)
    for label in (torch.zeros(9, dtype=kind), torch.ones(9, dtype=kind)):
        expected = plain_log_loss(logit.numpy(), label.numpy())
        assert float(log_loss(logit, label)) == pytest.approx(expected, rel=1e-6)
        for z, t in zip(logit, label, strict=True):
            assert float(log_loss(z[None], t[None])) == pytest.approx(
                plain_log_loss(z[None].numpy(), [t]), rel=3e-6, abs=1e-9
            )


def test_log_loss_still_teaches_where_it_is_clipped() -> None:
    logit = torch.tensor([-30.0, 0.5, 30.0], requires_grad=True, dtype=torch.float64)
    label = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    log_loss(logit, label).backward()
    expected = (1 / (1 + np.exp(-array(logit))) - label.numpy()) / 3
    np.testing.assert_allclose(array(logit.grad), expected, atol=1e-7)


@pytest.mark.parametrize("model_class", [FM, DeepFM])
def test_loss_and_its_gradients(model_class: type[FM]) -> None:
    """The loss against the plain one; its gradients against central differences."""
    chosen = DeepFMSettings(dim=2, l2=0.3, hidden="5-4")
    model = filled(model_class(chosen, **sizes(FIELDS)))
    v = plain_vectors(model.vectors, values())[0][..., :-1]
    logit = array(model.read(values()).logit)
    l2 = np.mean([(v[b] ** 2).sum() for b in range(4)])
    terms = model.loss(batch())
    assert terms["log_loss"].item() == pytest.approx(plain_log_loss(logit, batch().label.numpy()), rel=1e-10)
    assert terms["loss"].item() == pytest.approx(terms["log_loss"].item() + 0.3 * l2, rel=1e-10)
    check_gradients(model, batch())


def check_gradients(model: torch.nn.Module, given: object, step: float = 1e-6, most: int = 12) -> None:
    """Autograd of the loss against central differences, in up to `most` entries of every parameter."""
    model.zero_grad()
    model.loss(given)["loss"].backward()
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        flat = parameter.data.view(-1)
        grad = torch.zeros_like(flat) if parameter.grad is None else parameter.grad.view(-1)
        for k in rng.permutation(len(flat))[:most].tolist():
            kept, sides = float(flat[k]), []
            for sign in (1, -1):
                flat[k] = kept + sign * step
                sides.append(float(model.loss(given)["loss"].detach()))
            flat[k] = kept
            difference = (sides[0] - sides[1]) / (2 * step)
            assert float(grad[k]) == pytest.approx(difference, rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize("model_class", [FM, DeepFM])
def test_first_weights(model_class: type[FM]) -> None:
    chosen = DeepFMSettings(dim=8, init_std=0.2)
    many = [Field("user_id", "category", 3000, "user"), *FIELDS[1:]]
    drawn = [model_class(chosen, **sizes(many)).initialise(torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    first, again, other = (dict(model.named_parameters()) for model in drawn)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["vectors.weight.0"], other["vectors.weight.0"])
    vectors, linear = first["vectors.weight.0"].detach().split([8, 1], 1)
    assert float(vectors.std()) == pytest.approx(0.2, rel=0.05)
    assert first["bias"].item() == 0
    assert not bool(linear.any())
    if model_class is DeepFM:
        assert float(first["deep.2.weight"].detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def learn(model: torch.nn.Module, given: Batch, steps: int, rate: float) -> tuple[float, float]:
    """Plain gradient descent (building an optimiser of torch costs seconds); log-loss before and after."""
    before = model.loss(given)["log_loss"].item()
    for _ in range(steps):
        model.zero_grad()
        model.loss(given)["loss"].backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= rate * parameter.grad
    return before, model.loss(given)["log_loss"].item()


@pytest.mark.parametrize("model_class", [FM, DeepFM])
def test_a_crossed_taste_is_learnt(model_class: type[FM]) -> None:
    """Who likes what depends on user and genre together; neither alone says anything."""
    user, genre = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    label = ((user + genre) % 2).flatten().float()
    given = {"user_id": user.flatten(), "genres": genre.flatten()[:, None]}
    fields = [Field("user_id", "category", 4, "user"), Field("genres", "category", 4, "item")]
    model = model_class(DeepFMSettings(hidden="8", init_std=0.3), **sizes(fields))
    before, after = learn(model.initialise(torch.Generator().manual_seed(0)), Batch(given, label), 150, 1.0)
    assert after < 0.2 * before
    score = model.score(given)
    assert float(score[label == 1].min()) > float(score[label == 0].max())


def test_fields_are_sizes_and_back() -> None:
    assert fields_of(sizes(FIELDS)) == FIELDS
    assert sizes(FIELDS)["item.number.year"] == 1
    assert fields_of({"user.category.a.b": 2}) == [Field("a.b", "category", 2, "user")]


def test_reading_holds_what_the_loss_needs() -> None:
    model = filled(FM(FMSettings(dim=3), **sizes(FIELDS)))
    reading = model.read(values())
    assert isinstance(reading, Reading)
    assert reading.logit.shape == (4,)
    assert reading.vectors.shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"age": 3}, "must be side.kind.name"),
        ({"user.word.age": 3}, "a kind of"),
        ({"film.category.age": 3}, "a side of"),
        ({"user.category.age": 0}, "size of at least 1"),
        ({"user.category.": 2}, "needs a name"),
        ({"user.modality.face": 2}, "is of the item"),
        ({"user.category.age": 3, "item.number.age": 1}, "a name of its own"),
        ({"item.modality.sound": 3}, "besides modalities"),
        ({}, "besides modalities"),
    ],
)
def test_wrong_fields_say_what_is_right(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FM(FMSettings(), **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 0}, "dim 0: must be at least 1"),
        ({"pooling": "max"}, "pooling 'max'"),
        ({"l2": -1.0}, "l2 -1.0"),
        ({"hidden": "128,64"}, "for example 128-64"),
        ({"hidden": "128-0"}, "for example 128-64"),
        ({"hidden": ""}, "for example 128-64"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DeepFM(DeepFMSettings.from_dict(wrong), **sizes(FIELDS))


def test_the_floors_have_recboles_defaults() -> None:
    assert (FMSettings().dim, FMSettings().learning_rate, FMSettings().batch) == (10, 1e-3, 2048)
    assert DeepFMSettings().hidden == "128-128-128"
