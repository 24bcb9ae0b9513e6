"""The audio-visual feature network against statements with plain loops, over towers that a test can afford."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reelmill.extractors.core.inception import I3DNetwork
from reelmill.models.audiovisual.features import FeatureBatch, PrivatePublic, divergence, overlap, similarity_loss
from reelmill.models.audiovisual.settings import FeatureSettings
from reelmill.storage.errors import InputError
from tests.models.test_fm import array, check_gradients, filled

COLUMNS, DIM, CLASSES = 3, 4, 3
COLOURS = 3
"""Channels of a picture; a spectrogram has one."""

Tower = Callable[[int], nn.Module]
"""channels → a network from (N, channels, frames, rows, columns) to (N, out, frames', rows', columns')."""


class Branch(nn.Module):
    """Tower, mean over time and place, fully connected layer: (N, channels, frames, rows, columns) → (N, D)."""

    def __init__(self, tower: nn.Module, columns: int, dim: int) -> None:
        super().__init__()
        self.tower, self.full = tower, nn.Linear(columns, dim)

    def forward(self, clip: Tensor) -> Tensor:
        return self.full(self.tower(clip).mean((2, 3, 4)))


class FeatureNetwork(PrivatePublic):
    """The paper's own branches over pixels and spectrograms: private to pictures, private to sound, public.

    The public one has one set of weights for both, so it must take both: a spectrogram enters it three times over, as
    a grey picture does."""

    def __init__(self, settings: FeatureSettings, classes: int, columns: int = 1024, tower: Tower = I3DNetwork) -> None:
        """`tower` makes a network of `columns` output channels; a checkpoint of another than I3D is rebuilt with it."""
        super().__init__()
        self.settings, self.sizes = settings, {"classes": classes, "columns": columns}
        self.picture = Branch(tower(COLOURS), columns, settings.dim)
        self.sound = Branch(tower(1), columns, settings.dim)
        self.public = Branch(tower(COLOURS), columns, settings.dim)
        self.classify = nn.Linear(4 * settings.dim, classes)

    def public_of_picture(self, picture: Tensor) -> Tensor:
        return self.public(picture)

    def public_of_sound(self, sound: Tensor) -> Tensor:
        return self.public(sound.expand(-1, COLOURS, -1, -1, -1))


def small(channels: int) -> nn.Module:
    """One weight for each channel at each place; a tower all the same."""
    return nn.Conv3d(channels, COLUMNS, 1, bias=False)


def network(seed: int = 0, **changes: object) -> FeatureNetwork:
    chosen = FeatureSettings.from_dict({"dim": DIM, **changes})
    return filled(FeatureNetwork(chosen, CLASSES, COLUMNS, small), seed)


def batch(videos: int = 4, silent: tuple[int, ...] = (2,), seed: int = 5) -> FeatureBatch:
    """Pictures and spectrograms of different sizes; nothing can be read off the sound of silent videos."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randn(videos, 3, 3, 2, 4, generator=generator, dtype=torch.float64)
    sound = torch.randn(videos, 1, 3, 5, 2, generator=generator, dtype=torch.float64)
    has = torch.ones(videos, dtype=torch.bool)
    has[list(silent)] = False
    sound[~has] = float("nan")
    return FeatureBatch(picture, sound, has, torch.arange(videos) % CLASSES)


def plain_branch(branch: nn.Module, clip: np.ndarray) -> np.ndarray:
    """Tower, mean over time and place, fully connected layer, of one clip (channels, frames, rows, columns)."""
    weight = array(branch.tower.weight)[:, :, 0, 0, 0]
    places = [weight @ clip[:, t, r, c] for t, r, c in np.ndindex(clip.shape[1:])]
    return array(branch.full.weight) @ np.mean(places, axis=0) + array(branch.full.bias)


def plain_features(model: FeatureNetwork, given: FeatureBatch) -> list[dict[str, np.ndarray]]:
    out = []
    for n in range(len(given.picture)):
        picture, sound = given.picture[n].numpy(), given.sound[n].numpy()
        vp, vs = plain_branch(model.picture, picture), plain_branch(model.public, picture)
        ap, as_ = np.zeros(DIM), np.zeros(DIM)
        if given.has_sound[n]:
            ap, as_ = plain_branch(model.sound, sound), plain_branch(model.public, np.concatenate([sound] * 3))
        out.append({"vp": vp, "vs": vs, "ap": ap, "as": as_})
    return out


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def plain_divergence(private: np.ndarray, public: np.ndarray) -> float:
    """Σ P log₂(P / Q)."""
    p, q = softmax(private), softmax(public)
    return sum(p[d] * np.log2(p[d] / q[d]) for d in range(len(p)))


def plain_overlap(private: list[np.ndarray], public: list[np.ndarray]) -> float:
    total = 0.0
    for i in range(DIM):
        for j in range(DIM):
            cell = 0.0
            for p, s in zip(private, public, strict=True):
                cell += p[i] / np.linalg.norm(p) * s[j] / np.linalg.norm(s)
            total += cell**2
    return total / max(len(private), 1) ** 2


def plain_loss(model: FeatureNetwork, given: FeatureBatch) -> dict[str, float]:
    chosen, rows = model.settings, plain_features(model, given)
    classes = 0.0
    for n, row in enumerate(rows):
        logit = array(model.classify.weight) @ np.concatenate([row["vp"], row["vs"], row["ap"], row["as"]])
        classes -= np.log(softmax(logit + array(model.classify.bias))[int(given.label[n])]) / len(rows)
    heard = [row for n, row in enumerate(rows) if given.has_sound[n]]
    similarity = sum(float(((row["as"] - row["vs"]) ** 2).sum()) for row in heard) / (2 * max(len(heard), 1))
    bits = [plain_divergence(row["vp"], row["vs"]) for row in rows]
    bits += [plain_divergence(row["ap"], row["as"]) for row in heard]
    difference = {
        "hinge": float(np.mean([max(chosen.margin - b, 0) for b in bits])),
        "as_printed": sum(bits) / len(rows),
        "orthogonal": plain_overlap([r["vp"] for r in rows], [r["vs"] for r in rows])
        + plain_overlap([r["ap"] for r in heard], [r["as"] for r in heard]),
    }[chosen.apart]
    total = classes + chosen.similarity * similarity + chosen.difference * difference
    return {"loss": total, "classes": classes, "similarity": similarity, "difference": difference}


@pytest.mark.parametrize("silent", [(), (2,), (0, 1, 2, 3)])
def test_features(silent: tuple[int, ...]) -> None:
    """Private and public towers, and one public tower for both modalities."""
    model, given = network(), batch(silent=silent)
    found = model.embed(given.picture, given.sound, given.has_sound)
    for n, row in enumerate(plain_features(model, given)):
        np.testing.assert_allclose(array(found.picture_private[n]), row["vp"], atol=1e-12)
        np.testing.assert_allclose(array(found.picture_public[n]), row["vs"], atol=1e-12)
        np.testing.assert_allclose(array(found.sound_private[n]), row["ap"], atol=1e-12)
        np.testing.assert_allclose(array(found.sound_public[n]), row["as"], atol=1e-12)
        joint = np.concatenate([row["vp"], row["vs"], row["ap"], row["as"]])
        np.testing.assert_allclose(array(found.joint[n]), joint, atol=1e-12)
        logit = array(model.classify.weight) @ joint + array(model.classify.bias)
        scored = model.score(given.picture, given.sound, given.has_sound)[n]
        np.testing.assert_allclose(array(scored), softmax(logit), atol=1e-12)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("dim", [1, 6])
def test_equations_10_and_11(rows: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    one, two = torch.randn(2, rows, dim, generator=generator, dtype=torch.float64).unbind()
    expected = sum(float(((one[n] - two[n]).numpy() ** 2).sum()) for n in range(rows)) / (2 * max(rows, 1))
    assert float(similarity_loss(one, two)) == pytest.approx(expected, abs=1e-12)
    bits = [plain_divergence(one[n].numpy(), two[n].numpy()) for n in range(rows)]
    np.testing.assert_allclose(array(divergence(one, two)), bits, atol=1e-12)
    assert float(divergence(one, one).abs().sum()) == 0
    assert bool((divergence(one, two) >= 0).all())


def test_divergence_is_in_bits() -> None:
    """Certain against even over four: two bits."""
    private, public = torch.tensor([[60.0, 0, 0, 0]]), torch.zeros(1, 4)
    assert float(divergence(private, public)) == pytest.approx(2)


def test_overlap_does_not_fall_with_length() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 5, DIM, generator=generator, dtype=torch.float64).unbind()
    assert float(overlap(one, two)) == pytest.approx(plain_overlap(list(one.numpy()), list(two.numpy())), rel=1e-12)
    assert float(overlap(one * 1e-3, two)) == pytest.approx(float(overlap(one, two)), rel=1e-12)
    alternating, even = torch.tensor([[1.0, 0], [-1, 0]]), torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    assert float(overlap(alternating, even)) == pytest.approx(0, abs=1e-12)
    assert float(overlap(even, even)) == pytest.approx(1)


@pytest.mark.parametrize("silent", [(), (2,), (0, 1, 2, 3)])
@pytest.mark.parametrize("apart", ["hinge", "as_printed", "orthogonal"])
def test_loss_and_its_gradients(apart: str, silent: tuple[int, ...]) -> None:
    model = network(1, apart=apart, similarity=0.7, difference=1.3, margin=0.6)
    given = batch(silent=silent)
    expected = plain_loss(model, given)
    terms = model.loss(given)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-10, abs=1e-12), name
    check_gradients(model, given)


@pytest.mark.parametrize("silent", [(), (0,)])
def test_a_single_video(silent: tuple[int, ...]) -> None:
    model, given = network(), batch(videos=1, silent=silent)
    terms = model.loss(given)
    assert terms["loss"].item() == pytest.approx(plain_loss(model, given)["loss"], rel=1e-10)
    terms["loss"].backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_equal_features_are_pushed_apart_by_the_default_only() -> None:
    """As printed private = public is the minimum; the hinge has its maximum there."""
    same = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bits = divergence(same, same)
    assert float(torch.relu(1 - bits).mean()) == 1.0
    moved = same + torch.randn(3, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(torch.relu(1 - divergence(moved, same)).mean()) < 1.0
    assert float(divergence(moved, same).sum()) > float(bits.sum())


def descend(model: FeatureNetwork, given: FeatureBatch, steps: int, rate: float) -> tuple[float, float]:
    before = model.loss(given)["loss"].item()
    for _ in range(steps):
        model.zero_grad()
        model.loss(given)["loss"].backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= rate * parameter.grad
    return before, model.loss(given)["loss"].item()


def planted() -> FeatureBatch:
    """Class = what the picture shows (channel 0) and what the sound says: four classes of two halves each."""
    generator = torch.Generator().manual_seed(0)
    seen, heard = torch.tensor([0, 0, 1, 1] * 3), torch.tensor([0, 1, 0, 1] * 3)
    picture = 0.1 * torch.randn(12, 3, 2, 2, 2, generator=generator, dtype=torch.float64)
    sound = 0.1 * torch.randn(12, 1, 2, 2, 2, generator=generator, dtype=torch.float64)
    picture[:, 0] += (2.0 * seen - 1)[:, None, None, None]
    sound[:, 0] += (2.0 * heard - 1)[:, None, None, None]
    return FeatureBatch(picture, sound, torch.ones(12, dtype=torch.bool), 2 * seen + heard)


def test_planted_classes_are_learnt_and_features_come_apart() -> None:
    given = planted()
    bits = {}
    for apart in ("hinge", "as_printed"):
        model = FeatureNetwork(FeatureSettings.from_dict({"dim": DIM, "apart": apart}), 4, COLUMNS, small).double()
        before, after = descend(model.initialise(torch.Generator().manual_seed(1)), given, 150, 0.1)
        assert after < 0.5 * before
        scored = model.score(given.picture, given.sound, given.has_sound)
        assert scored.argmax(1).tolist() == given.label.tolist()
        found = model.embed(given.picture, given.sound, given.has_sound)
        bits[apart] = float(divergence(found.picture_private, found.picture_public).detach().mean())
    assert bits["hinge"] > 0.5 > bits["as_printed"]


def test_a_checkpoint_rebuilds_the_model() -> None:
    model = network().float()
    again = FeatureNetwork(FeatureSettings.from_dict(model.settings.to_dict()), **model.sizes, tower=small)
    again.load_state_dict(model.state_dict())
    given = batch()
    inputs = given.picture.float(), given.sound.float(), given.has_sound
    np.testing.assert_array_equal(array(again.score(*inputs)), array(model.score(*inputs)))


def test_first_weights() -> None:
    first, again = (
        FeatureNetwork(FeatureSettings(), 20, 50, lambda channels: nn.Conv3d(channels, 50, 3)).initialise(
            torch.Generator().manual_seed(seed)
        )
        for seed in (3, 3)
    )
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(), strict=True))
    assert float(first.picture.tower.weight.detach().std()) == pytest.approx((2 / 81) ** 0.5, rel=0.1)
    assert float(first.sound.tower.weight.detach().std()) == pytest.approx((2 / 27) ** 0.5, rel=0.1)
    assert float(first.public.full.weight.detach().std()) == pytest.approx((2 / 50) ** 0.5, rel=0.1)


def test_the_towers_are_i3d() -> None:
    """Three of them, of three, one and three channels; on a clip as small as they take, in evaluation mode."""
    model = FeatureNetwork(FeatureSettings(dim=5), classes=2)
    assert [type(b.tower) for b in (model.picture, model.sound, model.public)] == [I3DNetwork] * 3
    assert [b.tower[0].conv3d.in_channels for b in (model.picture, model.sound, model.public)] == [3, 1, 3]
    assert model.sizes == {"classes": 2, "columns": 1024}
    model.eval()
    picture, sound = torch.zeros(1, 3, 8, 32, 32), torch.zeros(1, 1, 8, 32, 32)
    assert model.score(picture, sound, torch.tensor([True])).shape == (1, 2)


def test_silent_videos_do_not_touch_batch_norm() -> None:
    def tower(channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(channels, COLUMNS, 1), nn.BatchNorm3d(COLUMNS))

    model = FeatureNetwork(FeatureSettings(dim=DIM), CLASSES, COLUMNS, tower).double()
    model.initialise(torch.Generator().manual_seed(0))
    given = batch(silent=(1, 2))
    model.loss(given)["loss"].backward()
    loud = replace(given, sound=torch.where(given.has_sound[:, None, None, None, None], given.sound, 1e6))
    again = FeatureNetwork(FeatureSettings(dim=DIM), CLASSES, COLUMNS, tower).double()
    again.initialise(torch.Generator().manual_seed(0)).loss(loud)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(array(value), array(again.state_dict()[name]))
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"apart": "hing"}, "did you mean 'hinge'"),
        ({"dim": 0}, "dim 0"),
        ({"similarity": -1}, "similarity -1"),
        ({"difference": -0.5}, "difference -0.5"),
        ({"margin": -1}, "margin -1"),
        ({"alpha": 1}, "no setting 'alpha'"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureSettings.from_dict(wrong)
