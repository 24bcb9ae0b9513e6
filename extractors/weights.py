"""Checkpoints: where they come from, their hash, their licence, and the pixels they were trained on.

One record a checkpoint; weights and their preprocessing belong together. No weights are shipped. A file is looked for
at the path that the user names, else in `$REELMILL_WEIGHTS` (default `~/.cache/reelmill/weights`), else downloaded
there. Its whole SHA-256 is compared each time before it is read, and it is read as tensors only: a pickle that holds
code is refused and its code does not run. Without weights, `random_weights` gives seeded ones for tests and the demo.
"""

import hashlib
import logging
import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import torch
from torch import Tensor, nn

from extractors.fetch import fetch
from storage.errors import InputError, nearest

logger = logging.getLogger(__name__)

Layout = Mapping[str, str | None]
"""Module name in the file → module name in our network, or None for one that we do not have."""


@dataclass(frozen=True)
class Pixels:
    """From uint8 RGB to what the network was trained on: (x / divisor − mean) / std, then the channel order."""

    order: Literal["RGB", "BGR"]
    """Order of the channels that the first convolution sees."""
    mean: tuple[float, float, float]
    """Of red, green and blue, whatever the order."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue."""
    divisor: float = 1.0

    def describe(self) -> dict[str, Any]:
        """For the spec."""
        return asdict(self)


@dataclass(frozen=True)
class Checkpoint:
    """One published file of weights."""

    name: str
    extractor: str
    file: str
    """Name of the file in the weights folder."""
    url: str | None
    """None: no address from which a program can fetch it."""
    sha256: str | None
    """Of the whole file. None: no source of it is known, and the user says which file to trust."""
    pixels: Pixels
    licence: str
    citation: str
    note: str = ""
    size: int | None = None
    """Bytes, where published."""
    non_commercial: bool = False
    layout: Layout | None = field(default=None, compare=False, repr=False)
    """None: the file's names are the network's."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a network, by its own names, and where they are from."""

    name: str
    """Of the checkpoint, or `random-<seed>`."""
    sha256: str
    """Of the file, or of the random tensors' bytes."""
    state: Mapping[str, Tensor] = field(repr=False, compare=False)


_C3D_CONVS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
_C3D_FCS: Layout = {"fc6": "fc6", "fc7": "fc7"}

C3D_PLAIN: Layout = {"conv1": "conv1a", "conv2": "conv2a", **{n: n for n in _C3D_CONVS[2:]}, **_C3D_FCS, "fc8": None}
C3D_OPENMMLAB: Layout = {
    prefix + ours: theirs
    for prefix in ("", "backbone.")
    for ours, theirs in [*((f"{name}.conv", name) for name in _C3D_CONVS), *_C3D_FCS.items()]
}
C3D_SEQUENTIAL: Layout = {
    **{f"features.{index}": name for index, name in zip((0, 3, 6, 8, 11, 13, 16, 18), _C3D_CONVS, strict=True)},
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": None,
}

_TRAN = "Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015"
_C3D_LICENCE = "CC BY-NC 3.0 (the C3D network and the weights that descend from it: no commercial use)"

_RECORDS = (
    Checkpoint(
        name="c3d-sports1m-openmmlab",
        extractor="c3d",
        file="c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        url="https://download.openmmlab.com/mmaction/recognition/c3d/c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        sha256="dcc47ddcdc7dd62eabc24bc70491b47c82b3b1045b864c52f6bdb669243dfcff",
        size=311_985_866,
        pixels=Pixels("RGB", mean=(104.0, 117.0, 128.0)),
        layout=C3D_OPENMMLAB,
        licence=_C3D_LICENCE,
        non_commercial=True,
        citation=_TRAN,
        note="Order and mean as in MMAction2's configuration c3d_sports1m_16x1x1_45e_ucf101_rgb (to_bgr=False). It does "
        "not say whether conv1a was turned from Caffe's BGR; `channel_order` overrides.",
    ),
    Checkpoint(
        name="c3d-sports1m-davidea",
        extractor="c3d",
        file="c3d.pickle",
        url="http://imagelab.ing.unimore.it/files/c3d_pytorch/c3d.pickle",
        sha256=None,
        pixels=Pixels("BGR", mean=(101.41, 97.66, 90.25)),
        layout=C3D_PLAIN,
        licence=_C3D_LICENCE,
        non_commercial=True,
        citation=_TRAN,
        note="Ported from Caffe by way of Keras (DavideA/c3d-pytorch, issue 1: BGR, channel means of Caffe's volume mean).",
    ),
    Checkpoint(
        name="c3d-sports1m-jfzhang",
        extractor="c3d",
        file="c3d-pretrained.pth",
        url=None,
        sha256=None,
        pixels=Pixels("BGR", mean=(102.0, 98.0, 90.0)),
        layout=C3D_SEQUENTIAL,
        licence=_C3D_LICENCE,
        non_commercial=True,
        citation=_TRAN,
        note="jfzhang95/pytorch-video-recognition, whose README links it; its loader reads frames as BGR.",
    ),
    Checkpoint(
        name="i3d-r50-kinetics400",
        extractor="i3d_r50",
        file="I3D_8x8_R50.pyth",
        url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth",
        sha256=None,
        pixels=Pixels("RGB", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), divisor=255.0),
        licence="Apache-2.0 (pytorchvideo)",
        citation="Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017; Feichtenhofer et al., SlowFast "
        "Networks for Video Recognition, ICCV 2019",
    ),
    Checkpoint(
        name="vgg19-imagenet",
        extractor="vgg19",
        file="vgg19-dcbb9e9d.pth",
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        size=574_673_361,
        pixels=Pixels("RGB", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), divisor=255.0),
        licence="BSD-3-Clause (torchvision); trained on ImageNet, which has terms of its own",
        citation="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
        note="IMAGENET1K_V1. The hash agrees with the 8 digits in the name.",
    ),
)

CHECKPOINTS: dict[str, Checkpoint] = {record.name: record for record in _RECORDS}


def checkpoint(name: str, extractor: str) -> Checkpoint:
    """The record of that name, or the extractor's default (its first) for `default` and `random`.

    Raises InputError, with the nearest name, for one that the extractor does not have.
    """
    mine = [record for record in _RECORDS if record.extractor == extractor]
    if name in ("default", "random"):
        return mine[0]
    for record in mine:
        if record.name == name:
            return record
    known = ("default", "random", *(record.name for record in mine))
    raise InputError(f"weights {name!r} for {extractor}: {nearest(name, known)}")


def folder() -> Path:
    """Where weights are kept: `$REELMILL_WEIGHTS`, default `~/.cache/reelmill/weights`."""
    return Path(os.environ.get("REELMILL_WEIGHTS") or "~/.cache/reelmill/weights").expanduser()


def load(record: Checkpoint, *, path: Path | None = None, sha256: str | None = None) -> Weights:
    """The tensors of a checkpoint, by our names, from `path` or the weights folder; downloaded there if need be.

    `sha256` is the hash of the file that the user trusts; without it the record's. Raises InputError when neither is
    known, when the file is not there and cannot be fetched, has another hash, or holds anything but tensors.
    """
    file = path or folder() / record.file
    expected = _expected_hash(record, file, sha256)
    if not file.is_file():
        if path is not None:
            raise InputError(f"weights_file {path}: no such file")
        _download(record, file, expected)
    with file.open("rb") as handle:  # one open file: what is hashed is what is read
        found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != expected:
            raise InputError(
                f"{file}: its sha256 is {found}, that of {record.name} should be {expected}. "
                "Delete the file to have it fetched again, or give its hash as weights_sha256 if you trust it"
            )
        handle.seek(0)
        tensors = _read(handle, file)
    _tell_licence(record.name, record.licence, record.non_commercial)
    return Weights(record.name, found, _renamed(tensors, record.layout))


def _expected_hash(record: Checkpoint, file: Path, given: str | None) -> str:
    """The hash that the file must have. Raises InputError when nobody has said one."""
    expected = (given or record.sha256 or "").lower()
    if expected and (len(expected) != 64 or not set(expected) <= set("0123456789abcdef")):
        raise InputError(f"weights_sha256 {given!r}: a SHA-256 has 64 hexadecimal digits")
    if expected:
        return expected
    if file.is_file():
        with file.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        raise InputError(
            f"{file}: no hash of {record.name} is published, so say which file you trust. "
            f"If it is this one, set weights_sha256: {found}"
        )
    raise InputError(
        f"no hash of {record.name} is published, so it is not fetched unseen. Get it ({record.url or record.note}), "
        f"put it at {file}, and set weights_sha256 to its SHA-256; or set weights: random to go on without"
    )


def _download(record: Checkpoint, file: Path, expected: str) -> None:
    """Fetch the record's file, or raise InputError that says where to put it."""
    try:
        if record.url is None:
            raise OSError(f"there is no address to fetch it from; {record.note}")
        logger.info("fetching %s from %s", record.name, record.url)
        fetch(record.url, file, sha256=expected, size=record.size)
    except OSError as error:
        raise InputError(
            f"the weights {record.name} are not here and cannot be fetched: {error}. "
            f"Put the file from {record.url or 'its authors'} at {file} (sha256 {expected}), "
            "name another place with weights_file or $REELMILL_WEIGHTS, or set weights: random to go on without"
        ) from error


def _read(handle: IO[bytes], file: Path) -> dict[str, Tensor]:
    """Name → tensor. Raises InputError for what is no checkpoint, or holds more than tensors."""
    try:
        content = torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file}: it holds more than tensors, reading it could run code. Refused; save its state dict alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"{file}: not a checkpoint that torch can read ({error})") from error
    for wrapper in ("state_dict", "model_state"):
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{file}: neither a state dict nor one under 'state_dict' or 'model_state'")
    return dict(content)


def _renamed(tensors: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
    """By our names. A name that the layout does not know is kept, so that `install` can complain of it."""
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
    """Once a process."""
    logger.log(logging.WARNING if non_commercial else logging.INFO, "weights %s: licence %s", name, licence)


def random_weights(network: nn.Module, seed: int, gains: Mapping[str, float]) -> Weights:
    """Seeded weights that keep the variance of activations from layer to layer, for a network on any device, even meta.

    Convolutions and linear layers: normal, variance 2 / fan-in (He et al., ICCV 2015, eq. 10), biases zero.
    Batch-norm: the identity. `gains` multiplies the tensors whose names end so. The random state of the process is
    neither used nor changed.
    """
    generator = torch.Generator().manual_seed(seed)
    digest = hashlib.sha256()
    state = {}
    for key, like in sorted(network.state_dict().items()):
        if like.ndim > 1:  # (out, in, …): fan-in is what one output sees
            tensor = torch.empty(like.shape).normal_(0.0, math.sqrt(2 / math.prod(like.shape[1:])), generator=generator)
        elif key.endswith(("weight", "running_var")):
            tensor = torch.ones(like.shape)
        else:
            tensor = torch.zeros(like.shape, dtype=like.dtype)
        for suffix, gain in gains.items():
            if key.endswith(suffix):
                tensor *= gain
        digest.update(key.encode())
        digest.update(tensor.numpy().data)
        state[key] = tensor
    return Weights(f"random-{seed}", digest.hexdigest(), state)


def install(network: nn.Module, weights: Weights) -> None:
    """Put the weights into a network (built on the meta device), every tensor and no other.

    Raises InputError that names a few of the tensors that are missing, unexpected or of another shape.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in weights.state.items()}
    complaints = {
        "missing": [key for key in wanted if key not in given],
        "unexpected": [key for key in given if key not in wanted],
        "of another shape": [
            f"{key} {given[key]} for {wanted[key]}" for key in wanted if key in given and given[key] != wanted[key]
        ],
    }
    if any(complaints.values()):
        told = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in complaints.items() if keys)
        raise InputError(f"weights {weights.name}: not those of this network: {told}")
    network.load_state_dict(weights.state, strict=True, assign=True)
    network.requires_grad_(False)
