"""Each equation of the multimodal click-through model against a statement with plain loops; gradients, ablations."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.baselines.fm import pairs
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.multimodal.parts import Crossing, Fusion, SelfAttention, soft_max
from reelmill.models.multimodal.settings import ABLATIONS, MultimodalSettings
from reelmill.models.protocols.clicks.fields import Batch, Field, sizes
from reelmill.storage.errors import InputError
from tests.models.test_fm import (
    NAN,
    array,
    check_gradients,
    filled,
    learn,
    plain_log_loss,
    plain_perceptron,
    plain_vectors,
)

FIELDS = [
    Field("picture", "modality", 3, "item"),
    Field("user_id", "category", 4, "user"),
    Field("genres", "category", 5, "item"),
    Field("age", "number", 1, "user"),
    Field("sound", "modality", 2, "item"),
]
"""Modalities stand between the others on purpose."""


def values() -> dict[str, Tensor]:
    """Five examples: all there; no picture; no genre; neither picture nor sound; the user alone."""
    return {
        "picture": torch.tensor(
            [[1.0, -0.5, 0.3], [NAN, NAN, NAN], [-1, 0.2, 2], [NAN, 0, 0], [NAN, NAN, NAN]], dtype=torch.float64
        ),
        "user_id": torch.tensor([0, 3, 2, 3, 1]),
        "genres": torch.tensor([[4, 0], [-1, 1], [-1, -1], [2, -1], [-1, -1]]),
        "age": torch.tensor([[0.5], [-1.0], [2.0], [0.3], [NAN]], dtype=torch.float64),
        "sound": torch.tensor([[0.4, -1.0], [1, 1], [0.7, 0], [NAN, NAN], [NAN, NAN]], dtype=torch.float64),
    }


def batch() -> Batch:
    return Batch(values(), torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64))


def settings(**changes: object) -> MultimodalSettings:
    return MultimodalSettings.from_dict({"dim": 4, "attention": 3, "hidden": "5-3", **changes})


def network(seed: int = 0, scale: float = 0.7, **changes: object) -> Multimodal:
    model = filled(Multimodal(settings(**changes), **sizes(FIELDS)), seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale / 0.7
    return model


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def plain_fusion(model: Multimodal, b: int, v: np.ndarray) -> np.ndarray:
    """a_m = softmax_m hᵀ tanh(W_u e_u + W_m x_m + b_m) among the modalities there are, for one example (M,)."""
    fusion = model.fusion
    assert fusion is not None
    raw = [values()[name][b].numpy() for name in model.modality_names]
    user = np.concatenate([v[model.field_names.index("user_id")], v[model.field_names.index("age")]])
    there = [m for m, x in enumerate(raw) if not np.isnan(x).any()]
    out = np.zeros(len(raw))
    if there:
        logit = [
            array(fusion.h.weight)[0]
            @ np.tanh(
                array(fusion.user.weight) @ user + raw[m] @ array(fusion.modality.weight[m]) + array(fusion.bias)[m]
            )
            for m in there
        ]
        out[there] = softmax(np.array(logit))
    return out


def plain_fields(model: Multimodal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (B, n, D), present (B, n) and modality weights (B, M)."""
    v, there = plain_vectors(model.vectors, values())
    if model.content is None:
        return v, there, np.zeros((len(v), 0))
    content, has = plain_vectors(model.content, values())
    one, weights = np.zeros((len(v), 1, v.shape[2])), []
    for b in range(len(v)):
        if model.fusion is None:  # laid end to end, zeros where there is none, times one matrix
            x = np.concatenate(
                [np.nan_to_num(values()[n][b].numpy()) * h for n, h in zip(("picture", "sound"), has[b], strict=True)]
            )
            one[b, 0] = x @ np.concatenate([array(weight) for weight in model.content.weight])
        else:
            weights.append(plain_fusion(model, b, v[b]))
            for m, a in enumerate(weights[-1]):
                one[b, 0] += a * content[b, m]
    weight = np.array(weights) if weights else np.zeros((len(v), 0))
    return np.concatenate([v, one], 1), np.concatenate([there, has.any(1)[:, None]], 1), weight


def plain_attention(layer: SelfAttention, e: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One example, one field and one head at a time: s (n, D), weights (H, n, n)."""
    n, d = e.shape
    size = d // layer.heads
    s, weights = e.copy(), np.zeros((layer.heads, n, n))
    for i in range(n):
        if not present[i]:
            continue
        joined = np.zeros(d)
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            there = [j for j in range(n) if present[j]]
            q = (array(layer.query.weight) @ e[i])[part]
            logit = np.array([q @ (array(layer.key.weight) @ e[j])[part] / np.sqrt(size) for j in there])
            weights[h, i, there] = softmax(logit)
            for j in there:
                joined[part] += weights[h, i, j] * (array(layer.value.weight) @ e[j])[part]
        s[i] += array(layer.join.weight) @ joined
    return s, weights


def plain_crossing(layer: Crossing, e: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 7 to 9, one pair at a time: p (n, D), M (pairs,)."""
    n = len(e)
    every = list(combinations(range(n), 2))
    scored = {}
    for i, j in every:
        if present[i] and present[j]:
            hidden = np.maximum(array(layer.hidden.weight) @ (e[i] * e[j]) + array(layer.hidden.bias), 0)
            scored[i, j] = float(array(layer.h.weight)[0] @ hidden)
    raised = {pair: np.exp(score) if layer.weights == "softmax" else score for pair, score in scored.items()}
    total = sum(raised.values())
    m = {pair: raised[pair] / total if pair in raised and total else 0.0 for pair in every}
    p = np.zeros_like(e)
    for i in range(n):
        for j in range(n):
            if i != j:
                p[i] += len(scored) * m[min(i, j), max(i, j)] * e[i] * e[j]
    return p, np.array([m[pair] for pair in every])


def random_fields(rows: int, fields: int, dim: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Vectors and present, some absent, the last row with nothing at all."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, fields, generator=generator) < 0.7
    present[0], present[-1] = True, False
    vectors = torch.randn(rows, fields, dim, generator=generator, dtype=torch.float64) * present[..., None]
    return vectors.requires_grad_(), present


SHAPES = [(3, 5, 4, 2), (2, 2, 6, 3), (4, 1, 2, 1), (2, 7, 2, 2)]


@pytest.mark.parametrize(("rows", "fields", "dim", "heads"), SHAPES)
def test_self_attention(rows: int, fields: int, dim: int, heads: int) -> None:
    layer = filled(SelfAttention(dim, heads))
    e, present = random_fields(rows, fields, dim)
    s, weights = layer(e, present)
    for b in range(rows):
        expected, looked = plain_attention(layer, array(e[b]), present[b].numpy())
        np.testing.assert_allclose(array(s[b]), expected, atol=1e-12)
        np.testing.assert_allclose(array(weights[b]), looked, atol=1e-12)
    s.sum().backward()
    assert bool(e.grad.isfinite().all())


@pytest.mark.parametrize("weights", ["softmax", "as_printed"])
@pytest.mark.parametrize(("rows", "fields", "dim", "units"), SHAPES)
def test_crossing_is_equations_7_to_9(rows: int, fields: int, dim: int, units: int, weights: str) -> None:
    layer = filled(Crossing(fields, dim, units, weights))
    e, present = random_fields(rows, fields, dim)
    p, looked = layer(e, present)
    assert looked.shape == (rows, fields * (fields - 1) // 2)
    for b in range(rows):
        expected, m = plain_crossing(layer, array(e[b]), present[b].numpy())
        np.testing.assert_allclose(array(p[b]), expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(array(looked[b]), m, rtol=1e-9, atol=1e-10)
    p.sum().backward()
    assert bool(e.grad.isfinite().all())


def test_equation_8_as_printed_divides_by_zero_where_the_default_does_not() -> None:
    e, present = torch.ones(1, 3, 2, dtype=torch.float64, requires_grad=True), torch.ones(1, 3, dtype=torch.bool)
    for weights, each in (("softmax", 1 / 3), ("as_printed", 0.0)):
        layer = filled(Crossing(3, 2, 2, weights))
        with torch.no_grad():
            layer.hidden.bias.fill_(-100.0)  # every ReLU is 0, so is every M'
        p, looked = layer(e, present)
        np.testing.assert_allclose(array(looked), each)
        assert bool(torch.autograd.grad(p.sum(), e)[0].isfinite().all())


def test_soft_max_of_nothing_is_nothing() -> None:
    logit = torch.tensor([[0.3, -1.0, 0.3], [5.0, 1.0, 1.0], [1e30, -1e30, 0.0]], requires_grad=True)
    present = torch.tensor([[True, False, True], [False, False, False], [True, True, False]])
    weights = soft_max(logit, present)
    np.testing.assert_allclose(array(weights), [[0.5, 0, 0.5], [0, 0, 0], [1, 0, 0]])
    weights.square().sum().backward()
    assert bool(logit.grad.isfinite().all())
    assert bool((logit.grad[~present] == 0).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_fusion(seed: int) -> None:
    model = network(seed)
    expected_vectors, there, expected = plain_fields(model)
    read = model.read(values())
    np.testing.assert_allclose(array(read.modalities), expected, atol=1e-12)
    np.testing.assert_allclose(array(read.vectors), expected_vectors, atol=1e-12)
    np.testing.assert_allclose(array(read.modalities).sum(1), [1, 1, 1, 0, 0], atol=1e-12)
    assert read.modalities[1].tolist() == [0, 1]
    assert there[:, -1].tolist() == [True, True, True, False, False]


def test_the_user_guides_the_fusion() -> None:
    """The same item has other weights for another user, and only the user's own fields turn them."""
    model = network(1)
    first = {name: value[:1] for name, value in values().items()}
    weights = model.explain(first).modalities
    for name, changed in (("user_id", torch.tensor([2])), ("age", torch.tensor([[-3.0]], dtype=torch.float64))):
        assert float((model.explain({**first, name: changed}).modalities - weights).abs().max()) > 1e-3
    other = model.explain({**first, "genres": torch.tensor([[1, 3]])}).modalities
    np.testing.assert_array_equal(array(other), array(weights))


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("name", ABLATIONS)
def test_output_is_equations_1_and_2(name: str, deep: bool) -> None:
    """Every step of §4.4, with the perceptron and as eq. 1."""
    model = filled(
        Multimodal(
            MultimodalSettings.ablation(name, dim=4, attention=3, hidden="5-3", deep=deep, layers=2), **sizes(FIELDS)
        )
    )
    e, present, _ = plain_fields(model)
    read = model.read(values())
    content = [] if model.content is None else ["picture", "sound"]
    assert read.vectors.shape == (5, 3 + bool(content), 4)
    for b in range(5):
        s, looked = e[b], []
        for layer in model.within:
            s, weights = plain_attention(layer, s, present[b])
            looked.append(weights)
        np.testing.assert_allclose(array(read.attention[b]), looked, atol=1e-10)
        both = s.flatten()
        if model.crossed is not None:
            p, m = plain_crossing(model.crossed, e[b], present[b])
            np.testing.assert_allclose(array(read.crossing[b]), m, atol=1e-10)
            both = np.concatenate([both, p.flatten()])
        logit = float(array(model.output.weight)[0] @ both) + model.output.bias.item()
        if deep:
            assert model.first is not None
            assert [field.name for field in model.first.fields] == ["user_id", "genres", "age", *content]
            w, _ = plain_vectors(model.first, values())
            logit += plain_perceptron(model.deep, both) + float(w[b].sum())
        assert read.logit[b].item() == pytest.approx(logit, rel=1e-9, abs=1e-10)
        assert float(model.score(values())[b]) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-10)


def test_the_ablations_are_four_models() -> None:
    made = {name: MultimodalSettings.ablation(name) for name in ABLATIONS}
    assert made["crossing"] == MultimodalSettings()
    counts = {
        name: sum(p.numel() for p in Multimodal(chosen, **sizes(FIELDS)).parameters()) for name, chosen in made.items()
    }
    assert counts["basic"] < counts["concatenated"] < counts["fused"] < counts["crossing"]
    with pytest.raises(InputError, match="did you mean 'fused'"):
        MultimodalSettings.ablation("fusd")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cross_weights": "as_printed"},
        {"modalities": "concatenated"},
        {"modalities": "none"},
        {"crossing": False, "layers": 2},
        {"deep": False},
    ],
)
def test_loss_and_its_gradients(changes: dict[str, object]) -> None:
    model = network(3, scale=0.5, l2=0.2, **changes)
    read, terms = model.read(batch().values), model.loss(batch())
    expected = plain_log_loss(array(read.logit), batch().label.numpy())
    l2 = np.mean([(v**2).sum() for v in plain_fields(model)[0]])
    assert terms["log_loss"].item() == pytest.approx(expected, rel=1e-10)
    assert terms["loss"].item() == pytest.approx(expected + 0.2 * l2, rel=1e-10)
    check_gradients(model, batch())


@pytest.mark.parametrize("row", range(5))
def test_a_single_example_of_each_kind(row: int) -> None:
    """All there; an empty modality; no genre; no modality at all; one field and no pair: finite, as in the batch."""
    model = network()
    alone = {name: value[row : row + 1] for name, value in values().items()}
    np.testing.assert_allclose(array(model.score(alone)), array(model.score(values()))[row : row + 1], atol=1e-12)
    model.loss(Batch(alone, torch.ones(1, dtype=torch.float64)))["loss"].backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_what_an_example_lacks_gets_no_weight() -> None:
    """Example 4 has but its user: it looks at itself only, crosses nothing, and is told apart by the user alone."""
    model = network()
    read = model.explain(values())
    user = model.field_names.index("user_id")
    assert read.attention[4, 0, :, user, user].tolist() == [1, 1]
    assert float(read.attention[4].sum()) == 2
    assert float(read.crossing[4].abs().sum()) == 0
    lacks = [row for row, pair in enumerate(model.pair_names) if "genres" in pair]
    assert float(read.crossing[2, lacks].abs().sum()) == 0
    np.testing.assert_allclose(array(read.crossing).sum(1), [1, 1, 1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(array(read.attention[0]).sum(-1), 1, atol=1e-12)


def test_nobody_at_all_is_scored_by_the_bias() -> None:
    model = network(deep=False)
    nobody = {
        "picture": torch.full((1, 3), NAN, dtype=torch.float64),
        "user_id": torch.tensor([-1]),
        "genres": torch.tensor([[-1]]),
        "age": torch.full((1, 1), NAN, dtype=torch.float64),
        "sound": torch.full((1, 2), NAN, dtype=torch.float64),
    }
    assert model.read(nobody).logit.item() == pytest.approx(model.output.bias.item())
    model.loss(Batch(nobody, torch.ones(1, dtype=torch.float64)))["loss"].backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("modalities", ["fused", "concatenated"])
def test_without_modality_fields_nothing_is_fused(modalities: str) -> None:
    basic = [field for field in FIELDS if field.kind != "modality"]
    model = filled(Multimodal(settings(modalities=modalities), **sizes(basic)))
    same = filled(Multimodal(settings(modalities="none"), **sizes(basic)))
    np.testing.assert_array_equal(array(model.score(values())), array(same.score(values())))
    assert model.explain(values()).modalities.shape == (5, 0)


def test_one_field_has_no_pair() -> None:
    model = filled(Multimodal(settings(), **sizes(FIELDS[1:2])))
    assert model.pair_names == []
    assert bool(model.score(values()).isfinite().all())
    model.loss(batch())["loss"].backward()


def test_names_of_what_is_explained() -> None:
    model = network()
    assert model.field_names == ["user_id", "genres", "age", "modalities"]
    assert model.modality_names == ["picture", "sound"]
    assert model.pair_names[:3] == [("user_id", "genres"), ("user_id", "age"), ("user_id", "modalities")]
    read = model.explain(values())
    assert read.crossing.shape[1] == len(model.pair_names)
    assert not read.logit.requires_grad


def test_numbers_are_standardised_first() -> None:
    model = network()
    before = model.score(values())
    model.standard.measured("picture", torch.tensor([1.0, 2.0, 3.0]), 5.0)
    model.standard.measured("age", torch.tensor([7.0]), 0.5)
    raw = values()
    raw["picture"] = raw["picture"] * 5 + torch.tensor([1.0, 2.0, 3.0])
    raw["age"] = raw["age"] * 0.5 + 7
    np.testing.assert_allclose(array(model.score(raw)), array(before), atol=1e-12)


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_checkpoint_rebuilds_the_model(name: str) -> None:
    model = Multimodal(MultimodalSettings.ablation(name), **sizes(FIELDS)).initialise(torch.Generator().manual_seed(0))
    model.standard.measured("sound", torch.tensor([1.0, 2.0]), 3.0)
    given = {key: value.float() if value.is_floating_point() else value for key, value in values().items()}
    again = Multimodal(MultimodalSettings.from_dict(model.settings.to_dict()), **model.sizes)
    again.load_state_dict(model.state_dict())
    assert model.score(given).dtype == torch.float32
    np.testing.assert_array_equal(array(again.score(given)), array(model.score(given)))


def test_nothing_is_left_on_another_device() -> None:
    """On `meta`, which refuses tensors of other devices as a GPU does."""
    model = Multimodal(settings(), **sizes(FIELDS)).to("meta")
    given = {name: value.to("meta") for name, value in values().items()}
    given |= {name: given[name].float() for name in ("picture", "sound", "age")}
    loss = model.loss(Batch(given, torch.ones(5, device="meta")))["loss"]
    loss.backward()
    assert loss.device.type == "meta"
    assert model.explain(given).crossing.shape == (5, 6)


def test_first_weights() -> None:
    """Equal generators, equal weights; a fused field starts with the spread of the others on a modality of unit
    length; the fusion starts where tanh bends."""
    wide = [Field("user_id", "category", 500, "user"), Field("picture", "modality", 256, "item")]
    model, again = (
        Multimodal(MultimodalSettings(init_std=0.2), **sizes(wide)).initialise(torch.Generator().manual_seed(0))
        for _ in range(2)
    )
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    picture = torch.nn.functional.normalize(torch.randn(500, 256, generator=torch.Generator().manual_seed(1)))
    given = {"user_id": torch.arange(500), "picture": picture}
    vectors = model.read(given).vectors.detach()
    assert float(vectors[:, 0].std()) == pytest.approx(0.2, rel=0.05)
    assert float(vectors[:, 1].std()) == pytest.approx(0.2, rel=0.1)
    assert isinstance(model.fusion, Fusion)
    assert float(model.fusion.modality(given)[0].detach().std()) == pytest.approx(1, rel=0.1)
    assert float(model.score(given).std()) < 0.11


def test_even_crossing_starts_as_a_factorisation_machine() -> None:
    """Where all pairs weigh the same, W_Pᵀp is Σ_{i<j} e_i·e_j over what is present, whatever the number of pairs."""
    model = Multimodal(MultimodalSettings(modalities="none", deep=False, init_std=0.3), **sizes(FIELDS)).double()
    model.initialise(torch.Generator().manual_seed(0))
    assert isinstance(model.crossed, Crossing)
    with torch.no_grad():
        model.crossed.h.weight.zero_()
        model.output.weight[:, : model.output.in_features // 2] = 0
    read = model.read(values())
    assert (read.crossing > 0).sum(1).tolist() == [3, 3, 1, 3, 0]
    np.testing.assert_allclose(array(read.logit), array(pairs(read.vectors)), atol=1e-12)


def test_the_planted_preference_is_learnt() -> None:
    """Even users like what they see, odd users what they hear, whatever the other modality says. The score ranks it,
    and the weights tell who is which."""
    generator = torch.Generator().manual_seed(0)
    users, items = 6, 40
    picture, sound = torch.randn(2, items, 2, generator=generator).unbind()
    user, item = torch.meshgrid(torch.arange(users), torch.arange(items), indexing="ij")
    user, item = user.flatten(), item.flatten()
    label = (torch.where(user % 2 == 0, picture[item, 0], sound[item, 0]) > 0).float()
    fields = [
        Field("user_id", "category", users, "user"),
        Field("picture", "modality", 2, "item"),
        Field("sound", "modality", 2, "item"),
    ]
    given = {"user_id": user, "picture": picture[item], "sound": sound[item]}
    model = Multimodal(MultimodalSettings(dim=8, hidden="16-8", init_std=0.5), **sizes(fields))
    before, after = learn(model.initialise(generator), Batch(given, label), 200, 1.0)
    assert after < 0.1 * before
    score, weights = model.score(given), model.explain(given).modalities
    likes, not_ = score[label == 1], score[label == 0]
    assert float((likes[:, None] > not_).float().mean()) > 0.98
    assert float(weights[user % 2 == 0, 0].mean()) > float(weights[user % 2 == 1, 0].mean()) + 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modalities": "fuse"}, "did you mean 'fused'"),
        ({"cross_weights": "soft"}, "cross_weights 'soft'"),
        ({"heads": 3}, "heads 3: must divide dim 16"),
        ({"heads": 0}, "heads 0"),
        ({"layers": 0}, "layers 0"),
        ({"attention": 0}, "attention 0"),
        ({"hidden": "128x64"}, "for example 128-64"),
        ({"crossing": "yes"}, "must be of type bool"),
        ({"embedding": 16}, "no setting 'embedding'"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Multimodal(MultimodalSettings.from_dict(wrong), **sizes(FIELDS))


def test_fusion_needs_a_user() -> None:
    nobody = [field for field in FIELDS if field.side == "item"]
    with pytest.raises(InputError, match="none is the user's"):
        Multimodal(settings(), **sizes(nobody))
    Multimodal(settings(modalities="concatenated"), **sizes(nobody))


def test_the_papers_defaults() -> None:
    chosen = MultimodalSettings()
    assert (chosen.dim, chosen.heads, chosen.layers, chosen.hidden) == (16, 2, 1, "256-128-64")
    assert (chosen.modalities, chosen.crossing, chosen.deep, chosen.cross_weights) == ("fused", True, True, "softmax")
