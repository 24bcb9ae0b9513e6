"""Published files of weights by the names of their tensors: each layout ends as the same network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reelmill.extractors.core.inception import I3DNetwork
from reelmill.extractors.registry import checkpoints, find
from reelmill.extractors.weights.checkpoints import Pixels
from reelmill.extractors.weights.load import install, load, random_weights
from reelmill.storage.errors import InputError
from tests.networks import BATCH, make, sha256

CHECKPOINTS = checkpoints()
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


BRANCHES = {  # of each Inception block, in order, by its name in both files of weights; the last follows the pool
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
}


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
    record, path = find("i3d").find_weights(str(file))
    assert record.name == name
    install(net, load(record, path=path, sha256=sha256(file)))
    found = net.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("c3d-sports1m-openmmlab", 0), ("i3d-kinetics400-piergiaj", 400 * (1024 + 1)), ("vgg19-imagenet", 0)],
)
def test_the_network_has_as_many_numbers_as_the_published_file(name: str, classifier: int) -> None:
    """Channels are nowhere else said by others: the rest of the file is names, up to 110 bytes a tensor."""
    record = CHECKPOINTS[name]
    with torch.device("meta"):
        state = find(record.extractor).load()._build(None).state_dict()
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values()) + 4 * classifier
    assert record.size is not None
    assert 0 < record.size - size < 300 * len(state)


def test_pixels_of_the_files_that_are_not_the_default() -> None:
    """Means of red, green and blue: DavideA/c3d-pytorch, issue 1, and the [[[90, 98, 102]]] of jfzhang95's loader."""
    davidea, jfzhang = (CHECKPOINTS[f"c3d-sports1m-{name}"].pixels for name in ("davidea", "jfzhang"))
    assert davidea == Pixels("BGR", mean=(101.41, 97.66, 90.25), std=(1, 1, 1), divisor=1)
    assert jfzhang == Pixels("BGR", mean=(102, 98, 90), std=(1, 1, 1), divisor=1)
    assert CHECKPOINTS["i3d-kinetics400-hassony2"].pixels == CHECKPOINTS["i3d-kinetics400-piergiaj"].pixels


@pytest.mark.usefixtures("thin")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c3d.pickle"
    torch.save({"conv1.weight": torch.zeros(4, 3, 3, 3, 3), "conv9.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=r"19 missing \(conv1a.bias, .*; 1 unexpected \(conv9.weight\)"):
        make("c3d", weights=str(file), weights_sha256=sha256(file))
