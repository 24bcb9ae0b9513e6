"""Log-mel statistics, spectrograms of parts, and I3D on them: against plain statements, and from files to stores."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from reelmill.extractors.audio.i3d_sound_network import I3DSound
from reelmill.extractors.audio.logmel import LogMel
from reelmill.extractors.audio.spectrogram import Spectrogram, spectrograms
from reelmill.extractors.core.inception import I3DNetwork
from reelmill.extractors.core.sound import NO_SOUND, NO_TIME
from reelmill.extractors.registry import build, find
from reelmill.extractors.weights.load import random_weights
from reelmill.flows.jobs.check import check_extract
from reelmill.flows.settings.sections import ExtractSettings
from reelmill.pipeline.extract.missing import ExtractOptions, missing
from reelmill.pipeline.extract.videos import extract
from reelmill.storage import Outcomes, Spec, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, PADDED, VALID, Block
from tests.extractors.test_checkpoints import BRANCHES
from tests.extractors.test_networks import i3d_mixed_5c
from tests.media import make_video
from tests.pipeline.test_extract import IndexExtractor, video
from tests.sounds import clicks, sound_packets, spoil, write_sound

RATE = 22_050
PART = 5 * RATE


def logmel(**settings: Any) -> LogMel:
    extractor = build("logmel", **settings)
    assert isinstance(extractor, LogMel)
    return extractor


def noise(*shape: int, seed: int = 0, loud: float = 0.1) -> np.ndarray:
    return (loud * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# --- plain statements ---


def mel_filters(n_fft: int) -> np.ndarray:
    """(128, n_fft / 2 + 1) triangles by Slaney's Auditory Toolbox: linear to 1 kHz, logarithmic above, equal area."""

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(11_025 / 1000) / np.log(6.4)
    edges = hertz(np.linspace(0, top, 130))
    bins = np.arange(n_fft // 2 + 1) * RATE / n_fft
    filters = np.zeros((128, len(bins)))
    for band, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
        filters[band] = np.maximum(np.minimum(rising, falling), 0) * 2 / (high - low)
    return filters


def decibels(samples: np.ndarray, starts: np.ndarray, n_fft: int) -> np.ndarray:
    """(128, starts) of the spectra that begin at these samples."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    columns = []
    for start in starts:
        power = np.abs(np.fft.fft(samples[start : start + n_fft].astype(np.float64) * hann)) ** 2
        columns.append(mel_filters(n_fft) @ power[: n_fft // 2 + 1])
    return 10 * np.log10(np.maximum(np.array(columns).T, 1e-10))


def stated(samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    bands = decibels(samples, starts, 2048)
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1)])


def test_logmel_against_a_plain_statement() -> None:
    windows = np.stack([noise(RATE, seed=seed) + np.sin(np.arange(RATE) * 0.1).astype(np.float32) for seed in (0, 1)])
    found = logmel(batch_size=2).forward(windows)["stats"]
    assert (found.shape, found.dtype) == ((2, 256), np.float32)
    for window, vector in zip(windows, found, strict=True):
        np.testing.assert_allclose(vector, stated(window, np.arange(0, RATE - 2047, 512)), atol=2e-3)


def test_logmel_counts_only_what_is_sound() -> None:
    """A gap and the end take away the spectra that touch them, and nothing else."""
    whole = noise(RATE)
    holed = whole.copy()
    holed[6000:7000], holed[20_000:] = NO_SOUND, NO_TIME
    starts = np.arange(0, RATE - 2047, 512)
    kept = starts[(starts + 2048 <= 6000) | ((starts >= 7000) & (starts + 2048 <= 20_000))]
    assert 0 < len(kept) < len(starts) - 4
    found = logmel(batch_size=1).forward(holed[None])["stats"][0]
    np.testing.assert_allclose(found, stated(whole, kept), atol=2e-3)


def test_logmel_of_less_than_a_spectrum() -> None:
    """Zeros are added: to the window, or around what there is of sound."""
    short = noise(1500)
    padded = np.concatenate([short, np.zeros(548, np.float32)])
    expected = stated(padded, np.array([0]))
    np.testing.assert_allclose(logmel(batch_size=1).forward(short[None])["stats"][0], expected, atol=2e-3)
    alone = np.full(RATE, NO_SOUND)
    alone[1024:2524] = short  # wholly in the spectra that begin at 512 and 1024
    expected = stated(np.nan_to_num(alone), np.array([512, 1024]))
    np.testing.assert_allclose(logmel(batch_size=1).forward(alone[None])["stats"][0], expected, atol=2e-3)


def test_silence_is_not_nothing() -> None:
    found = logmel(batch_size=1).forward(np.zeros((1, RATE), np.float32))["stats"][0]
    np.testing.assert_array_equal(found, [-100] * 128 + [0] * 128)


def test_spectrograms_against_slicing_by_hand() -> None:
    """Parts of 5 s, of 250 ms, of less than a spectrum, with a hole, and without any sound."""
    window = np.full((32, PART), NO_TIME)
    sound = noise(32, PART)
    lasting = [PART, 5512, 700] + [5512] * 29
    for row, samples, length in zip(window, sound, lasting, strict=True):
        row[:length] = samples[:length]
    window[3, 1000:3000] = NO_SOUND
    window[4, :5512] = NO_SOUND
    found = spectrograms(window)
    assert (found.shape, found.dtype) == ((32, 128, 128), np.float32)
    for part, length in enumerate(lasting[:6]):
        samples = np.zeros(max(length, 1024))
        samples[:length] = np.where(np.isnan(window[part, :length]), 0, sound[part, :length])
        starts = np.array([round(j * (len(samples) - 1024) / 127) for j in range(128)])
        np.testing.assert_allclose(found[part], decibels(samples, starts, 1024), atol=5e-3)
    assert (found[4] == -100).all()
    assert np.ptp(found[2], axis=1).max() < 1e-4  # one spectrum, 128 times
    vector = build("spectrogram").forward(window[None])["parts"]
    np.testing.assert_array_equal(vector.reshape(32, 128, 128), found)


def resized(picture: np.ndarray) -> np.ndarray:
    """128 × 128 → 224 × 224: between the two nearest pixel centres on each axis."""
    at = np.clip((np.arange(224) + 0.5) * 128 / 224 - 0.5, 0, 127)
    low = np.minimum(np.floor(at).astype(int), 126)
    weight = (at - low)[:, None]
    rows = picture[low] * (1 - weight) + picture[low + 1] * weight
    return rows[:, low] * (1 - weight.T) + rows[:, low + 1] * weight.T


@pytest.fixture(scope="module")
def network() -> I3DSound:
    extractor = build("i3d_sound", weights="random", device="cpu", precision="float32")
    assert isinstance(extractor, I3DSound)
    return extractor


def test_i3d_on_sound_against_its_statement(network: I3DSound, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes in, what the network does with it (on a smaller clip), what becomes of what comes out."""
    window = np.full((1, 32, PART), NO_TIME)
    window[0, :, :5000] = noise(32, 5000) * np.linspace(0, 1, 32, dtype=np.float32)[:, None]
    frames = np.stack([resized((picture + 30) / 70) for picture in spectrograms(window[0])])
    given: list[torch.Tensor] = []
    mixed = torch.rand((1, 1024, 4, 7, 7), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        clip = torch.from_numpy(frames[None, None, :9, :33, :63].astype(np.float32))
        stated = i3d_mixed_5c(dict(network.network.state_dict()), clip)
        np.testing.assert_allclose(network.network(clip), stated, rtol=1e-3, atol=1e-4 * float(stated.abs().max()))
    with monkeypatch.context() as patched:
        patched.setattr(network, "network", lambda x: given.append(x) or mixed)
        found = network.forward(window)["mixed_5c"]
    assert given[0].shape == (1, 1, 32, 224, 224)
    np.testing.assert_allclose(given[0][0, 0], frames, atol=1e-4)
    per_time = mixed.mean(dim=(0, 3, 4)).numpy()
    np.testing.assert_allclose(found[0], per_time @ np.array([1, 2, 2, 1]) / 6, rtol=1e-5)  # pairs in time: 01, 12, 23


def test_i3d_on_sound_repeats_itself(network: I3DSound) -> None:
    window = np.full((1, 32, PART), NO_TIME)
    window[0, :, :5000] = noise(32, 5000)
    first, again = (network.forward(window)["mixed_5c"] for _ in range(2))
    assert (first.shape, first.dtype) == ((1, 1024), np.float32)
    assert first.tobytes() == again.tobytes()
    assert 0.01 < first.std() < 10


# --- weights and settings ---


@pytest.mark.parametrize("layout", ["tensorflow", "branches"])
def test_own_weights_with_names_as_in_either_file(tmp_path: Path, layout: str) -> None:
    with torch.device("meta"):
        shapes = I3DNetwork(in_channels=1)
    state = random_weights(shapes, 5, {}).state
    theirs = {}
    for key, tensor in state.items():
        unit, kind, rest = (part for part in key.rpartition(".conv3d." if ".conv3d." in key else ".bn."))
        if layout == "branches":
            block, _, branch = unit.partition(".")
            unit = f"{block.lower()}.{BRANCHES[branch]}" if branch else block.lower()
            kind = kind.replace("bn", "batch3d")
        theirs[f"{unit}{kind}{rest}"] = tensor
    theirs["logits.conv3d.weight" if layout == "tensorflow" else "conv3d_0c_1x1.conv3d.weight"] = torch.zeros(2)
    file = tmp_path / "sound.pt"
    torch.save(theirs, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    loaded = build("i3d_sound", weights=str(file), weights_sha256=digest, device="cpu", precision="float32")
    assert isinstance(loaded, I3DSound)
    found = loaded.network.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
    spec = loaded.specs(segment_ms=5000, decoder="d")["mixed_5c"]
    assert (spec.weights, spec.weights_sha256) == ("own", digest)
    with pytest.raises(InputError, match=f"weights_sha256: {digest}$"):
        build("i3d_sound", weights=str(file))


def test_weights_of_frames_are_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = random_weights(I3DNetwork(), 5, {}).state
    torch.save(dict(state), tmp_path / "rgb_imagenet.pt")
    digest = hashlib.sha256((tmp_path / "rgb_imagenet.pt").read_bytes()).hexdigest()
    with pytest.raises(InputError, match=r"1 of another shape \(Conv3d_1a_7x7.conv3d.weight \(64, 3, .* for \(64, 1, "):
        build("i3d_sound", weights=str(tmp_path / "rgb_imagenet.pt"), weights_sha256=digest)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("i3d_sound", {}, "nobody has published any; set weights: random"),
        ("i3d_sound", {"weights": "i3d-kinetics400-piergiaj"}, "nobody has published any"),
        ("i3d_sound", {"weights": "none/such.pt", "weights_sha256": "0" * 64}, "no such file"),
        (
            "i3d_sound",
            {"weights": "random", "step_ms": 40.0},
            "no setting 'step_ms': it is a setting of i3d, i3d_r50, vgg19",
        ),
        (
            "i3d_sound",
            {"weights": "random", "windows": 2},
            "i3d_sound has no setting 'windows': it is a setting of c3d",
        ),
        ("logmel", {"step_ms": 40.0}, "logmel has no setting 'step_ms': it is a setting of i3d, "),
        ("logmel", {"weights": "random"}, "logmel has no setting 'weights': it is a setting of c3d, .*i3d_sound"),
        ("logmel", {"seed": 3}, "logmel has no setting 'seed': it is a setting of c3d, .*topics"),
        ("logmel", {"layers": ("parts",)}, "layer 'parts' of logmel"),
        ("spectrogram", {"windows": 2}, "spectrogram has no setting 'windows': it is a setting of c3d"),
        ("spectrogram", {"batch_size": 0}, "above 0"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        build(name, **settings)
    settings = {key: list(value) if key == "layers" else value for key, value in settings.items()}
    if "above" not in told:  # and before anything is downloaded
        with pytest.raises((InputError, ValidationError), match=told):
            check_extract(ExtractSettings.model_validate({"extractors": {name: settings}, "device": "cpu"}))


def test_settings_that_are_right_pass() -> None:
    chosen = {"logmel": {}, "spectrogram": {"batch_size": 2}, "i3d_sound": {"weights": "random", "seed": 1}}
    checked = check_extract(ExtractSettings.model_validate({"extractors": chosen, "device": "cpu"}))
    assert checked == ["logmel-stats", "spectrogram-parts", "i3d_sound-mixed_5c"]
    assert find("i3d_sound").find_weights("random")[1] is None


def test_forward_refuses_other_shapes_and_types() -> None:
    for windows in (noise(3, RATE), noise(2, 2, RATE), noise(2, RATE).astype(np.float64)):
        with pytest.raises(InputError, match=r"needs float32 \(2, "):
            logmel(batch_size=2).forward(windows)
    with pytest.raises(InputError, match=r"needs float32 \(1, 32, 110250\)"):
        build("spectrogram").forward(noise(1, 32, 5))


def test_the_spec_says_everything(network: I3DSound) -> None:
    stats, parts = (
        build(name).specs(segment_ms=5000, decoder="d", rows="window") for name in ("logmel", "spectrogram")
    )
    clip = network.specs(segment_ms=5000, decoder="d")["mixed_5c"]
    assert (stats["stats"].rows, parts["parts"].rows, clip.rows) == ("segment", "video", "video")
    assert (parts["parts"].dim, parts["parts"].dtype) == (32 * 128 * 128, "float16")
    for spec in (stats["stats"], parts["parts"], clip):
        assert Spec.from_json(spec.to_json()) == spec
        assert spec.sampling["rate"] == RATE
        assert {"librosa", "n_fft", "bands", "mel", "decibels", "window"} < spec.preprocessing.keys()
    assert stats["stats"].sampling["segment_ms"] == 5000
    assert parts["parts"].preprocessing["shape"] == [32, 128, 128]
    # the length of a segment is nothing to what spans the video
    assert build("spectrogram").specs(segment_ms=999, decoder="d")["parts"] == parts["parts"]


def test_librosa_waits_until_it_is_needed() -> None:
    code = "import sys, reelmill.extractors.registry; assert not {'librosa', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=120)


# --- from files to stores ---


@pytest.mark.parametrize("name", ["logmel", "spectrogram"])
def test_a_vector_is_the_same_in_any_batch(name: str) -> None:
    shape = (RATE,) if name == "logmel" else (32, PART)
    windows = noise(3, *shape)
    windows[1, ..., -9000:] = NO_SOUND
    alone = [build(name, batch_size=1).forward(window[None]) for window in windows]
    together = build(name, batch_size=5).forward(np.concatenate([noise(2, *shape, seed=9), windows[::-1]]))
    for layer, vectors in together.items():
        for place, one in enumerate(alone):
            assert vectors[4 - place].tobytes() == one[layer][0].tobytes()


OPTIONS = ExtractOptions(segment_ms=1000, thumbnail_height=0)


def test_one_pass_of_the_picture_and_one_of_the_sound(tmp_path: Path) -> None:
    """Together with frames; videos with sound, without, with spoilt sound."""
    heard = write_sound(tmp_path / "heard.mkv", seconds=3.5)
    indexed = make_video(tmp_path / "indexed.mp4", frames=60, sound=True)
    silent = make_video(tmp_path / "silent.mp4", frames=60)
    spoilt = make_video(tmp_path / "spoilt.mp4", frames=60, sound=True)
    spoil(spoilt, sound_packets(spoilt))
    videos = [video(path) for path in (indexed, silent, spoilt, heard)]
    frames, stats, parts = IndexExtractor(), logmel(), build("spectrogram")
    summary = extract(str(tmp_path), videos[:3], [frames, stats, parts], OPTIONS)
    assert (summary.videos, summary.failed) == (3, {})
    assert summary.windows == {"index": 36, "logmel": 3, "spectrogram": 1}
    assert extract(str(tmp_path), videos[3:], [stats, parts], OPTIONS).failed == {}
    assert missing(str(tmp_path), videos, [stats, parts], OPTIONS) == []

    first, means, whole = (open_store(tmp_path, name) for name in ("index-first", "logmel", "spectrogram"))
    for name in ("indexed.mp4", "silent.mp4", "spoilt.mp4"):
        assert first.read(name).features[:, 0].tolist() == [10, 35, 52.5]
        assert first.read(name).provenance["frames"] == 60  # each decoded once
    assert means.read("indexed.mp4").mask.tolist() == [VALID] * 3
    for name in ("silent.mp4", "spoilt.mp4"):
        for store, rows in ((means, 3), (whole, 1)):
            block = store.read(name)
            assert block.mask.tolist() == [NO_DATA] * rows
            assert np.isnan(block.features).all()
            assert {row["status"] for row in Outcomes(tmp_path).latest("extract", store.spec.name).values()} == {"done"}
    assert means.read("spoilt.mp4").provenance["decode_errors"] > 10
    assert "frames" not in means.read("spoilt.mp4").provenance

    block, sound = means.read("heard.mkv"), clicks(np.arange(3.5 * RATE) / RATE)
    assert (block.mask.tolist(), block.stop_ms.tolist()) == ([VALID] * 4, [1000, 2000, 3000, 3500])
    for second in range(3):
        samples = sound[second * RATE : (second + 1) * RATE]
        np.testing.assert_allclose(block.features[second], stated(samples, np.arange(0, RATE - 2047, 512)), atol=0.05)
    np.testing.assert_array_equal(means.rows([("heard.mkv", 2)])[0], block.features[2])
    assert block.provenance["decoder"] == means.spec.decoder
    assert "swresample" in means.spec.decoder
    assert "swscale" in first.spec.decoder


def test_a_whole_video_is_one_row(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mkv", seconds=3.5, spans=[(0, 2)])
    extractor = build("spectrogram")
    assert isinstance(extractor, Spectrogram)
    extract(str(tmp_path), [video(path)], [extractor], replace(OPTIONS, rows="window"))
    store = open_store(tmp_path, "spectrogram-parts")
    block = store.read("a.mkv")
    assert (store.spec.rows, block.mask.tolist(), block.segment_index.tolist()) == ("video", [PADDED], [0])
    assert (block.start_ms.tolist(), block.stop_ms.tolist()) == ([0], [3500])
    assert store.rows([("a.mkv", 0)]).dtype == np.float16
    found = store.rows([("a.mkv", 0)]).astype(np.float32).reshape(32, 128, 128)
    sound = np.concatenate([clicks(np.arange(2 * RATE) / RATE), np.zeros(round(1.5 * RATE), np.float32)])
    for part in (0, 7, 17, 31):
        start, stop = (-(-edge * 3500 * RATE // 32_000) for edge in (part, part + 1))
        starts = np.round(np.linspace(0, stop - start - 1024, 128)).astype(int)
        np.testing.assert_allclose(found[part], decibels(sound[start:stop], starts, 1024), atol=0.1)
    assert (found[19:] == -100).all()
    # another grid is the same store, and nothing is lacking of it
    assert missing(str(tmp_path), [video(path)], [extractor], replace(OPTIONS, segment_ms=700)) == []


def test_stores_do_not_depend_on_batches_or_workers(tmp_path: Path) -> None:
    paths = [write_sound(tmp_path / f"{i}.mkv", seconds=2.5 + i, codec="aac", rate=44_100) for i in range(3)]
    videos = [video(path) for path in paths]
    stores = []
    for name, size, workers in (("a", 1, 1), ("b", 3, 2), ("c", 64, 3)):
        extractors = [logmel(batch_size=size), build("spectrogram", batch_size=min(size, 4))]
        extract(str(tmp_path / name), videos, extractors, replace(OPTIONS, workers=workers))
        stores.append([open_store(tmp_path / name, store) for store in ("logmel", "spectrogram")])
    for same in zip(*stores, strict=True):
        for one in videos:
            blocks = [store.read(one.video_id) for store in same]
            assert all(block.features.tobytes() == blocks[0].features.tobytes() for block in blocks)
            assert np.isfinite(blocks[0].features).all()


def test_a_store_of_videos_takes_one_row_of_each() -> None:
    spec = Spec("spectrogram", "parts", 2, "video")
    for index in ([0, 1], [1], []):
        rows = len(index)
        block = Block("v", np.zeros((rows, 2), np.float32), np.ones(rows), np.array(index, np.int32),
                      np.zeros(rows), np.ones(rows))  # fmt: skip
        with pytest.raises(InputError, match="has one row a video, with segment_index 0"):
            block.check(spec)
