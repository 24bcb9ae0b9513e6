"""How many digits, and which numbers are the same again: bfloat16, batches, threads, processes, torch.compile."""

import gc
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from reelmill.extractors.core.device import choose_device, choose_precision, native_bfloat16
from reelmill.extractors.core.network import FrameNetwork
from reelmill.pipeline.extract.missing import ExtractOptions, Video
from reelmill.pipeline.extract.videos import extract
from reelmill.storage import open_store
from reelmill.storage.errors import InputError
from tests.networks import NETWORKS, clip, cosine, make
from tests.optional import needs
from tests.scenes import PLAN, in_batches, seen_by, write_scenes

BATCH = 2


NATIVE = needs("bfloat16", native_bfloat16(torch.device("cpu")))
PRECISIONS = ["float32", pytest.param("bfloat16", marks=NATIVE)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    """Two rendered videos, eight scenes."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), 2)


@pytest.fixture(scope="module", params=list(NETWORKS))
def exact(request: pytest.FixtureRequest) -> Iterator[FrameNetwork]:
    """Each network in float32, one after another: pytest runs all tests of one before it builds the next."""
    yield make(request.param, precision="float32", batch_size=BATCH)
    gc.collect()


@pytest.fixture(scope="module")
def rough(exact: FrameNetwork) -> FrameNetwork:
    """The same in bfloat16."""
    return make(exact.name, precision="bfloat16", batch_size=BATCH)


@pytest.fixture(scope="module")
def windows(exact: FrameNetwork, scenes: list[Video]) -> np.ndarray:
    return seen_by(exact, scenes)


@pytest.fixture(scope="module")
def features(exact: FrameNetwork, windows: np.ndarray) -> dict[str, np.ndarray]:
    return in_batches(exact, windows)


def digest(features: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(vectors.tobytes() for vectors in features.values())).hexdigest()


# --- bfloat16 ---


@NATIVE
def test_bfloat16_agrees_with_float32(
    rough: FrameNetwork, windows: np.ndarray, features: dict[str, np.ndarray]
) -> None:
    """Row by row; and, without what all rows have in common, in what tells neighbours apart."""
    for layer, vectors in in_batches(rough, windows).items():
        assert len(vectors) == 8
        assert cosine(vectors, features[layer]).min() >= 0.999
        assert cosine(np.diff(vectors, axis=0), np.diff(features[layer], axis=0)).min() >= 0.98


def test_precision_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = choose_device("cpu")
    for found, precision in (({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"bf16": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert choose_precision("auto", cpu) == precision
    for capability, native in (((7, 5), False), ((8, 0), True), ((12, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device, capability=capability: capability)
        assert native_bfloat16(torch.device("cuda")) == native


# --- the same again ---


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_vector_is_the_same_whatever_stands_beside_it_and_wherever_it_stands(
    precision: str, windows: np.ndarray, request: pytest.FixtureRequest
) -> None:
    extractor = request.getfixturevalue("exact" if precision == "float32" else "rough")
    first = extractor.forward(windows[:BATCH])
    alone = np.zeros_like(windows[:BATCH])
    alone[-1] = windows[0]
    alone.flags.writeable = False  # as from shared memory
    amid_others = np.stack([*windows[5 : 5 + BATCH - 1], windows[0]])
    for batch in (alone, amid_others):
        for layer, vectors in extractor.forward(batch).items():
            np.testing.assert_array_equal(vectors[-1], first[layer][0])


@pytest.mark.parametrize(("precision", "apart"), [("float32", 1e-5), pytest.param("bfloat16", 1e-2, marks=NATIVE)])
def test_other_threads_and_batch_sizes_move_the_last_digits_only(
    precision: str, apart: float, windows: np.ndarray, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is several times of what was found; see NetworkExtractor."""
    extractor = request.getfixturevalue("exact" if precision == "float32" else "rough")
    threads = torch.get_num_threads()
    whole = extractor.forward(windows[:BATCH])
    monkeypatch.setattr(extractor, "batch_size", 1)
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        other = extractor.forward(windows[:1])
    finally:
        torch.set_num_threads(threads)
    for layer, vectors in other.items():
        np.testing.assert_allclose(vectors[0], whole[layer][0], rtol=0, atol=apart * np.abs(vectors).max())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_process_gives_the_same_bits(precision: str) -> None:
    code = (
        "import numpy as np, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.networks import clip, make\n"
        "from tests.extractors.test_precision import digest\n"
        f"network = make('i3d', precision='{precision}')\n"
        "print(digest(network.forward(np.stack([clip(network, (220, 40, 40), (3, 0), n) for n in range(2)]))))"
    )
    house = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, text=True, check=True).stdout
    network = make("i3d", precision=precision)
    mine = digest(network.forward(np.stack([clip(network, (220, 40, 40), (3, 0), n) for n in range(2)])))
    assert said.strip() == mine


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_number_of_decoding_processes_gives_the_same_bits(
    precision: str, tmp_path: Path, scenes: list[Video]
) -> None:
    """A real network, and batches that videos share: who comes first differs."""
    network = make("i3d", precision=precision, windows=1, batch_size=3)
    stores = []
    for workers, videos in ((1, scenes), (2, scenes[::-1])):
        options = ExtractOptions(segment_ms=PLAN.segment_ms, workers=workers, thumbnail_height=0)
        assert extract(str(tmp_path / str(workers)), videos, [network], options).failed == {}
        stores.append(open_store(tmp_path / str(workers), "i3d-mixed_5c"))
    for video in scenes:
        one, two = (store.read(video.video_id).features for store in stores)
        assert len(one) == 4
        assert one.tobytes() == two.tobytes()


# --- torch.compile ---


@pytest.mark.usefixtures("thin")
def test_compiling_is_part_of_the_spec_and_not_compiling_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []

    def compiled(function, **_options):  # type: ignore[no-untyped-def]
        called.append(True)
        return function

    monkeypatch.setattr(torch, "compile", compiled)
    plain = make("c3d", precision="float32").specs(segment_ms=5000, decoder="d")["fc6"]
    assert plain.precision == "float32"
    assert "compile" not in plain.to_json()
    assert not called
    other = make("c3d", precision="float32", compile=True).specs(segment_ms=5000, decoder="d")["fc6"]
    assert other.precision == "float32-compiled"
    assert called
    assert other.fingerprint != plain.fingerprint


def test_a_missing_compiler_is_told_before_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(function, **_options):  # type: ignore[no-untyped-def]
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(InputError, match=r"No working C\+\+ compiler found\).*install them, or set compile: false"):
        make("c3d", weights="./none.pth", compile=True)


@pytest.mark.slow
@needs("compiler", shutil.which("g++") is not None)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's, of its own compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_features_agree(name: str) -> None:
    """A minute or more a network on a CPU."""
    plain, compiled = (make(name, precision="float32", batch_size=2, compile=how) for how in (False, True))
    windows = np.stack([clip(plain, (220, 40, 40), (3, 0), noise) for noise in range(2)])
    found = compiled.forward(windows)
    for layer, vectors in plain.forward(windows).items():
        assert cosine(found[layer], vectors).min() >= 0.9999
    for layer, vectors in compiled.forward(windows[::-1]).items():
        np.testing.assert_array_equal(vectors[::-1], found[layer])


# --- on a GPU ---


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    here, there = make(name, precision="float32"), make(name, precision="float32", device="cuda")
    windows = np.stack([clip(here, (220, 40, 40), (3, 0), noise) for noise in range(2)])
    found = there.forward(windows)
    for layer, vectors in here.forward(windows).items():
        np.testing.assert_allclose(found[layer], vectors, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_overlapping_batches_are_those_computed_one_by_one(name: str, precision: str) -> None:
    network = make(name, precision=precision, device="cuda", batch_size=8)
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (8, *network.plan.shape()), np.uint8) for _ in range(6)]
    with torch.inference_mode():
        stated = [
            {layer: tensor.cpu().numpy() for layer, tensor in network._vectors(torch.from_numpy(batch).cuda()).items()}
            for batch in batches
        ]
    reused = np.empty_like(batches[0])
    waits = []
    for batch in batches:
        reused[:] = batch
        waits.append(network.start(reused))
    reused[:] = 0
    for wait, expected in zip(waits, stated, strict=True):
        for layer, vectors in wait().items():
            np.testing.assert_array_equal(vectors, expected[layer])
