"""Load weights into networks, or draw random ones.

A file is read from the path that the user gives, else from the weights folder, else it is downloaded there (`files`).
Before each reading its whole hash is checked. Only tensors are read: a pickle that holds code is refused and the code
does not run. `random_weights` draws seeded weights for tests and the demo.
"""

import hashlib
import logging
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

import torch
from torch import Tensor, nn

from reelmill.extractors.weights.checkpoints import Checkpoint, Layout
from reelmill.extractors.weights.files import located, wrong_hash
from reelmill.extractors.weights.hashes import Hash
from reelmill.storage.arrays import check_zip
from reelmill.storage.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """The tensors of a network, and where they are from."""

    name: str
    """Name of the checkpoint, or `random-<seed>`."""
    sha256: str
    """Hash of the file, or of the bytes of the random tensors."""
    state: Mapping[str, Tensor] = field(repr=False, compare=False)


def load(record: Checkpoint, *, path: Path | None = None, sha256: str | None = None) -> Weights:
    """The tensors of a checkpoint with the names of our network, from `path`, the weights folder or a download.

    `sha256`: hash of the file that the user trusts; if not given, that of `files.expected_hash`. Raises InputError if
    no hash is known, if the file is missing and cannot be downloaded, if it has another hash, or if it holds anything
    but tensors.
    """
    file, expected = located(record, path, sha256)
    with file.open("rb") as handle:  # hash and read the same open file
        found = Hash.of(handle, expected.kind)
        if found != expected:
            raise InputError(wrong_hash(record, file, found, expected))
        known = found if found.kind == "sha256" else Hash.of(handle, "sha256")
        tensors = _read(handle, file)
    _tell_licence(record.name, record.licence, record.non_commercial)
    return Weights(record.name, known.digits, _renamed(tensors, record.layout))


def _read(handle: IO[bytes], file: Path) -> dict[str, Tensor]:
    """{name: tensor}. Raises InputError for a file that is not a checkpoint or holds more than tensors."""
    try:
        if zipfile.is_zipfile(handle):
            with zipfile.ZipFile(handle) as archive:
                check_zip(archive)
        handle.seek(0)
        content = torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file}: holds more than tensors, so that reading it could run code. Refused; save its state dict alone"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: not a checkpoint that torch can read ({error})") from error
    for wrapper in ("state_dict", "model_state"):
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{file}: neither a state dict nor one under 'state_dict' or 'model_state'")
    return dict(content)


def _renamed(tensors: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
    """The tensors under the names of our network. Unknown names are kept, so that `install` can report them."""
    if layout is None:
        return dict(tensors)
    renamed = {}
    for key, tensor in tensors.items():
        module, _, kind = key.rpartition(".")
        ours = layout.get(module, module)
        if ours is not None:
            renamed[f"{ours}.{kind}"] = tensor
    return renamed


@cache
def _tell_licence(name: str, licence: str, non_commercial: bool) -> None:
    """Log the licence, once in each process."""
    logger.log(logging.WARNING if non_commercial else logging.INFO, "weights %s: licence %s", name, licence)


def random_weights(network: nn.Module, seed: int, gains: Mapping[str, float]) -> Weights:
    """Seeded random weights for a network on any device, also meta. They keep the variance of activations from layer to
    layer.

    Convolutions and linear layers: normal with variance 2 / fan-in (He et al., ICCV 2015, eq. 10), biases zero.
    Batch-norm: the identity. `gains`: {ending of a tensor's name: factor}. The random state of the process is neither
    used nor changed.
    """
    generator = torch.Generator().manual_seed(seed)
    digest = hashlib.sha256()
    state = {}
    for key, like in sorted(network.state_dict().items()):
        if like.ndim > 1:  # (out, in, …): fan-in is the number of inputs of one output
            std = math.sqrt(2 / math.prod(like.shape[1:]))
            tensor = torch.empty(like.shape, device="cpu").normal_(0.0, std, generator=generator)
        elif key.endswith(("weight", "running_var")):
            tensor = torch.ones(like.shape, device="cpu")
        else:
            tensor = torch.zeros(like.shape, dtype=like.dtype, device="cpu")
        for suffix, gain in gains.items():
            if key.endswith(suffix):
                tensor *= gain
        digest.update(key.encode())
        digest.update(tensor.numpy().data)
        state[key] = tensor
    return Weights(f"random-{seed}", digest.hexdigest(), state)


def install(network: nn.Module, weights: Weights) -> None:
    """Load weights into a network that was built on the meta device.

    Raises InputError that names some of the tensors that are missing, unexpected or of another shape.
    """
    own = network.state_dict()
    # counts of batch-norm: missing in files older than PyTorch 0.4.1, and read in training only
    counters = {
        key: torch.zeros(like.shape, dtype=like.dtype, device="cpu")
        for key, like in own.items()
        if key.endswith(".num_batches_tracked")
    }
    state = {**counters, **weights.state}
    wanted = {key: tuple(tensor.shape) for key, tensor in own.items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    complaints = {
        "missing": [key for key in wanted if key not in given],
        "unexpected": [key for key in given if key not in wanted],
        "of another shape": [
            f"{key} {given[key]} for {wanted[key]}" for key in wanted if key in given and given[key] != wanted[key]
        ],
    }
    if any(complaints.values()):
        told = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in complaints.items() if keys)
        raise InputError(
            f"weights {weights.name}: do not fit this network: {told}. The expected names follow from the file's name, "
            "see `reelmill weights`; was the file renamed?"
        )
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(False)
