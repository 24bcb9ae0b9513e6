"""The audio-visual feature network over stores: its branches against plain statements, a planted world with its twins,
the stores that it writes, and the click-through model on these."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from reelmill.flows.jobs.check import check
from reelmill.flows.settings.load import load as settings_of
from reelmill.models import runs
from reelmill.models.audiovisual import write as audiovisual_write
from reelmill.models.audiovisual.data import load
from reelmill.models.audiovisual.features import FeatureBatch
from reelmill.models.audiovisual.model import AudioVisual
from reelmill.models.audiovisual.settings import AudioVisualSettings
from reelmill.models.audiovisual.task import AudioVisualTask
from reelmill.models.audiovisual.world import World, factors, write
from reelmill.models.fit import FitResult, train
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.recommendations import recommend
from reelmill.models.registry import world_of
from reelmill.storage import Block, FeatureStore, FeatureWriter, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, PADDED, VALID, list_stores
from reelmill.storage.parts import list_parts
from tests.flows.test_cli import reelmill
from tests.models.test_fm import array, check_gradients, filled
from tests.models.test_multimodal_features import plain_divergence, softmax

CPU = torch.device("cpu")
DIM = 3
FIT = AudioVisualSettings.from_dict(world_of("audiovisual").options)


def fit(root: Path, stores: dict[str, str], **changes: object) -> FitResult:
    settings = replace(FIT, **changes)  # type: ignore[arg-type]
    return train(root, stores, settings, model="audiovisual", logger="none", pictures=False)


def means(result: FitResult, metric: str) -> dict[str, float]:
    return {row["row"]: row["mean"] for row in result.metrics["rows"] if row["metric"] == metric}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], FitResult]:
    root = tmp_path_factory.mktemp("audiovisual")
    stores = write(root, World())
    return root, stores, fit(root, stores)


def relu_layers(x: np.ndarray, first: torch.nn.Linear, second: torch.nn.Linear) -> np.ndarray:
    hidden = np.maximum(array(first.weight) @ x + array(first.bias), 0)
    return array(second.weight) @ hidden + array(second.bias)


@pytest.mark.parametrize("silent", [(), (1,), (0, 1, 2)])
@pytest.mark.parametrize("apart", ["hinge", "orthogonal", "as_printed"])
def test_branches_and_loss_are_those_stated(silent: tuple[int, ...], apart: str) -> None:
    """Private layers of each modality, one set of public weights behind two entries, classes by their shares."""
    settings = AudioVisualSettings.from_dict({"dim": DIM, "width": 4, "apart": apart, "difference": 1.5})
    model = filled(AudioVisual(settings, classes=3, picture=5, sound=2), 1)
    generator = torch.Generator().manual_seed(0)
    picture, sound = (torch.randn(3, n, generator=generator, dtype=torch.float64) for n in (5, 2))
    has = torch.tensor([n not in silent for n in range(3)])
    sound[~has] = torch.nan
    share = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    found = model.embed(picture, sound, has)
    classes, similar, bits = 0.0, 0.0, []
    for n in range(3):
        x, y = picture[n].numpy(), sound[n].numpy()
        vp = relu_layers(x, model.picture[0][0], model.picture[1])
        vs = relu_layers(x, model.picture_entry[0], model.public)
        ap = relu_layers(y, model.sound[0][0], model.sound[1]) if has[n] else np.zeros(DIM)
        as_ = relu_layers(y, model.sound_entry[0], model.public) if has[n] else np.zeros(DIM)
        joint = np.concatenate([vp, vs, ap, as_])
        np.testing.assert_allclose(array(found.joint[n]), joint, atol=1e-12)
        likely = softmax(array(model.classify.weight) @ joint + array(model.classify.bias))
        classes -= float(sum(share[n, c] * np.log(likely[c]) for c in range(3))) / 3
        bits.append(plain_divergence(vp, vs))
        if has[n]:
            similar += float(((as_ - vs) ** 2).sum()) / (2 * (3 - len(silent)))
            bits.append(plain_divergence(ap, as_))
    given = FeatureBatch(picture, sound, has, share)
    terms = model.loss(given)
    assert terms["classes"].item() == pytest.approx(classes, rel=1e-10)
    assert terms["similarity"].item() == pytest.approx(similar, abs=1e-12)
    if apart == "hinge":
        assert terms["difference"].item() == pytest.approx(np.mean([max(1 - b, 0) for b in bits]), rel=1e-10)
    total = classes + similar + 1.5 * terms["difference"].item()
    assert terms["loss"].item() == pytest.approx(total, rel=1e-10)
    check_gradients(model, given)


def test_classes_are_told_and_the_twin_stays_at_chance(
    tmp_path: Path, planted: tuple[Path, dict[str, str], FitResult]
) -> None:
    """Eight classes of two bits seen and two bits heard; one of ten videos is silent and can be guessed at best."""
    hits = means(planted[2], "hit@1")
    assert hits["audiovisual"] > 0.7
    assert hits["random"] == pytest.approx(1 / 8)
    assert means(planted[2], "log_likelihood")["audiovisual"] > means(planted[2], "log_likelihood")["most popular"]
    twin = []
    for seed in range(2):
        root = tmp_path / str(seed)
        twin.append(means(fit(root, write(root, World(noise_twin=True, seed=seed)), seed=seed), "hit@1")["audiovisual"])
    assert abs(np.mean(twin) - 1 / 8) < 3 * (1 / 8 * 7 / 8 / (2 * 180)) ** 0.5


def told(root: Path, result: FitResult, half: int, learnt: str, tested: str, factor: int) -> float:
    """How many videos with sound have the factor whose mean is nearest, means of one half of one modality's features,
    videos by the same half of a modality's."""
    true, rows = factors(World())[:, factor], {}
    for modality in ("picture", "sound"):
        both = open_store(root, result.written[modality]).rows([(f"v{n:04d}", 0) for n in range(len(true))])
        rows[modality] = np.split(both, 2, axis=1)[half]
    heard = ~np.isnan(rows["sound"][:, 0])
    x, y, true = rows[learnt][heard], rows[tested][heard], true[heard]
    apart = np.stack([((y - x[true == value].mean(0)) ** 2).sum(1) for value in range(2)])
    return float((apart.argmin(0) == true).mean())


def test_public_features_hold_what_is_seen_and_heard(
    tmp_path: Path, planted: tuple[Path, dict[str, str], FitResult]
) -> None:
    """What is only seen is told by the private half and leaves the public one, as far as α has it; and what pictures
    teach of the factor that is heard as well holds for sound, unless there is no such factor."""
    root, stores, result = planted
    free = fit(root, stores, similarity=0.0)
    assert told(root, result, 0, "picture", "picture", 1) > 0.9
    assert told(root, result, 1, "picture", "picture", 1) < 0.7 < 0.9 < told(root, free, 1, "picture", "picture", 1)
    other = tmp_path / "none"
    none = fit(other, write(other, World(common=0.0)))
    assert told(root, result, 1, "picture", "sound", 0) > 0.6
    assert max(told(root, free, 1, "picture", "sound", 0), told(other, none, 1, "picture", "sound", 0)) < 0.57


def test_the_stores_hold_the_features_of_the_checkpoint(planted: tuple[Path, dict[str, str], FitResult]) -> None:
    root, stores, result = planted
    model = runs.load(result.folder).model
    assert isinstance(model, AudioVisual)
    for modality, name in result.written.items():
        store, source = open_store(root, name), open_store(root, stores[modality])
        assert name.startswith(f"audiovisual-{modality}-")
        assert (store.spec.rows, store.spec.dim) == ("video", 2 * FIT.dim)
        assert store.spec.preprocessing["input"] == stores[modality]
        assert len(store.spec.weights_sha256) == 64
        assert store.keys() == source.keys()
        for video in store.keys()[::97]:
            block, given = store.read(video), source.read(video)
            assert (int(block.start_ms[0]), int(block.stop_ms[0])) == (0, 15000)
            assert block.provenance["run"] == result.folder.name
            if given.mask[0] == NO_DATA:
                assert block.mask.tolist() == [NO_DATA]
                assert np.isnan(block.features).all()
                continue
            assert block.mask.tolist() == [VALID]
            expected = model.describe(modality, torch.from_numpy(given.features.mean(0, keepdims=True)))
            np.testing.assert_allclose(block.features, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert any(open_store(root, result.written["sound"]).read(v).mask[0] == NO_DATA for v in store.keys())  # noqa: SIM118


def changed(store: FeatureStore, video: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Block:
    b = store.read(video)
    mask = b.mask.copy()
    mask[0] = PADDED
    return Block(name, change(b.features), mask, b.segment_index, b.start_ms, b.stop_ms)


def test_a_second_fit_writes_only_what_lacks(tmp_path: Path) -> None:
    """New videos, changed ones, and all of them if somebody removed the store; a fit of the same has the same name."""
    stores = write(tmp_path, World(videos=120))
    first = fit(tmp_path, stores)
    folder = tmp_path / "features" / first.written["picture"]
    parts = list_parts(folder)
    again = fit(tmp_path, stores)
    assert (again.skipped, again.written, list_parts(folder)) == (True, first.written, parts)

    source = open_store(tmp_path, stores["picture"])
    with FeatureWriter(tmp_path, source.spec) as writer:
        writer.add(changed(source, "v0003", "unnamed", lambda rows: rows * np.float32(1.1)))
    again = fit(tmp_path, stores)
    assert (again.skipped, again.written) == (True, first.written)  # a video without a class trains nothing
    new = list_parts(folder)
    assert len(new) == len(parts) + 1
    store = open_store(tmp_path, again.written["picture"])
    assert store.shards[-1].video_ids == ["unnamed"]
    assert store.read("unnamed").mask.tolist() == [PADDED]
    assert open_store(tmp_path, again.written["sound"]).read("unnamed").mask.tolist() == [NO_DATA]

    before = {video: store.read(video).features.copy() for video in store.keys()}  # noqa: SIM118
    for part in new:
        part.unlink()
    restored = open_store(tmp_path, fit(tmp_path, stores).written["picture"])
    assert restored.keys() == sorted(before)
    for video, rows in before.items():
        np.testing.assert_array_equal(restored.read(video).features, rows)

    with FeatureWriter(tmp_path, source.spec) as writer:
        writer.add(changed(source, "v0004", "unnamed", lambda rows: rows))
    renewed = open_store(tmp_path, fit(tmp_path, stores).written["picture"])
    assert renewed.shards[-1].video_ids == ["unnamed"]
    assert not np.allclose(renewed.read("unnamed").features, before["unnamed"])


def test_the_click_through_model_reads_them(planted: tuple[Path, dict[str, str], FitResult]) -> None:
    """Who likes a video follows from its class; for new videos only their features say so."""
    root, _, result = planted
    chosen = MultimodalSettings.from_dict({**world_of("multimodal").options, "fields": "user_id,item_id", "epochs": 8})
    auc = {}
    for name, stores, settings in (
        ("with", result.written, replace(chosen, fields="user_id,item_id,picture,sound")),
        ("without", {}, replace(chosen, modalities="none")),
    ):
        done = train(root, stores, settings, model="multimodal", logger="none", pictures=False)
        auc[name] = next(
            row["mean"]
            for row in done.metrics["by_sparsity"]
            if (row["group"], row["row"], row["metric"]) == ("unseen item", "multimodal", "auc")
        )
    assert auc["with"] > auc["without"] + 0.1
    assert auc["with"] > 0.65


def test_settings_of_one_file_name_what_a_fit_will_write(tmp_path: Path) -> None:
    reads = {"stores": {"picture": "audiovisual-picture", "sound": "audiovisual-sound"}}
    before = {"audiovisual": {"stores": {"picture": "vgg19-fc7", "sound": "logmel"}}, "multimodal": reads}
    base = {"root": str(tmp_path), "extract": {"extractors": {"vgg19": {"weights": "random"}, "logmel": {}}}}
    check(settings_of(None, (), {**base, "train": {"models": before}}))
    after = dict(reversed(before.items()))
    with pytest.raises(InputError, match=r"stores\.picture 'audiovisual-picture' is not among what extract will write"):
        check(settings_of(None, (), {**base, "train": {"models": after}}))


@pytest.mark.slow  # a process with Prefect's server
def test_one_command_fits_both(tmp_path: Path) -> None:
    """The click-through model takes what the fit before it wrote, also where an older one lies beside it."""
    root = tmp_path / "root"
    stores = write(root, World(videos=120, users=20))
    fit(root, stores, seed=5, epochs=1)
    options = {**world_of("multimodal").options, "epochs": 1, "fields": "user_id,item_id,picture,sound"}
    models = {
        "audiovisual": {"stores": stores, "options": {**world_of("audiovisual").options, "epochs": 1}},
        "multimodal": {"stores": {"picture": "audiovisual-picture", "sound": "audiovisual-sound"}, "options": options},
    }
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"root": str(root), "train": {"models": models}}))
    ended = reelmill("train", settings, "--json")
    assert ended.returncode == 0, ended.stderr
    fits = json.loads(ended.stdout)["fits"]
    assert fits["multimodal"]["stores"] == fits["audiovisual"]["written"]
    assert len(list_stores(root)) == 6
    assert recommend(root, "u0001", run="multimodal").recommended


def named(root: Path, rows: list[dict[str, object]]) -> None:
    Tables(root).write("videos", rows)


def test_names_make_classes_and_what_falls_away_is_counted(tmp_path: Path) -> None:
    stores = write(tmp_path, World(videos=60, users=2))
    rows = [{"video_id": f"v{n:04d}", "tags": ["rare"] if n < 2 else ["a", "b"] if n % 3 else ["c"]} for n in range(58)]
    named(
        tmp_path, [*rows, {"video_id": "v0058", "tags": [""]}, {"video_id": "v0059"}, {"video_id": "x", "tags": ["a"]}]
    )
    data = load(tmp_path, **stores)
    assert (len(data.videos), list(data.named)) == (58, ["tags"])
    assert {k: data.counts[k] for k in ("videos", "videos_without_a_name", "videos_not_extracted_picture")} == {
        "videos": 61, "videos_without_a_name": 2, "videos_not_extracted_picture": 1,
    }  # fmt: skip
    task = AudioVisualTask(data, replace(FIT, classes="tags"), CPU)
    assert task.classes == ["a", "b", "c"]
    assert sum(task.rare.values()) == 2
    assert sum(task.counts[f"{part}_videos"] for part in ("train", "validation", "test")) == 56
    label = task.label.numpy()
    assert label[2].tolist() == [0.5, 0.5, 0]
    assert label[3].tolist() == [0, 0, 1]
    assert label[0].tolist() == [0, 0, 0]
    measured = task._measured(torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]]), np.array([2, 2]))
    expected = [[1, np.log([0.5, 0.25]).mean()], [0.5, np.log([0.2, 0.4]).mean()]]  # of two likeliest one is its own
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


def test_what_cannot_be_fitted_says_why(tmp_path: Path) -> None:
    stores = write(tmp_path, World(videos=60, users=2))
    with pytest.raises(InputError, match="classes 'tags': no video with a picture has any"):
        fit(tmp_path, stores, classes="tags")
    with pytest.raises(InputError, match="0 of 8 names have 50 or more training videos"):
        fit(tmp_path, stores, least=50)
    with pytest.raises(InputError, match="test_share 1"):
        AudioVisualSettings(test_share=1.0)
    with pytest.raises(InputError, match="classes 'genre'"):
        AudioVisualSettings.from_dict({"classes": "genre"})
    named(tmp_path, [{"video_id": f"v{n:04d}"} for n in range(60)])
    with pytest.raises(InputError, match=r"no video of .* has categories, tags or an uploader"):
        fit(tmp_path, stores)


def test_other_weights_are_another_store(planted: tuple[Path, dict[str, str], FitResult]) -> None:
    root, stores, result = planted
    model = runs.load(result.folder).model
    assert isinstance(model, AudioVisual)
    spec = open_store(root, stores["sound"]).spec
    first = audiovisual_write.spec_of(model, "sound", spec)
    assert first.name == result.written["sound"]
    with torch.no_grad():
        model.public.bias[0] += 1e-3
    assert audiovisual_write.spec_of(model, "sound", spec).name != first.name
