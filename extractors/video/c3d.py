"""The extractor `c3d`: 16 consecutive frames → fc6, fc7 (4096), conv5 (512). Its settings and weights; no torch.

`c3d_network` has the network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.network_settings import FrameSettings
from reelmill.extractors.weights.checkpoints import Checkpoint, Layout, Pixels


@dataclass(frozen=True, kw_only=True)
class C3DSettings(FrameSettings):
    """Settings of `c3d`."""

    channel_order: Literal["RGB", "BGR"] | None = None
    """Channel order that the first layer expects, if a checkpoint's record has it wrong."""
    mean_file: Path | None = None
    """The published mean volume as .npy, (3, 16, 128, 171) in BGR, instead of one mean for each channel."""


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

_TRAN = "Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015"
_LICENCE = "CC BY-NC 3.0 (the C3D network and the weights that descend from it: no commercial use)"

CHECKPOINTS = (
    Checkpoint(
        name="c3d-sports1m-openmmlab",
        extractor="c3d",
        file="c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        url="https://download.openmmlab.com/mmaction/recognition/c3d/c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        sha256="dcc47ddcdc7dd62eabc24bc70491b47c82b3b1045b864c52f6bdb669243dfcff",
        size=311_985_866,
        pixels=Pixels("RGB", mean=(104.0, 117.0, 128.0)),
        layout=C3D_OPENMMLAB,
        licence=_LICENCE,
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
        licence=_LICENCE,
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
        licence=_LICENCE,
        non_commercial=True,
        citation=_TRAN,
        note="jfzhang95/pytorch-video-recognition, whose README links it; its loader reads frames as BGR.",
    ),
)

EXTRACTOR = Descriptor(
    name="c3d",
    input="frames",
    layers={"fc6": 4096, "fc7": 4096, "conv5": 512},
    default_layers=("fc6",),
    settings=C3DSettings,
    implementation="reelmill.extractors.video.c3d_network:C3D",
    paper=_TRAN,
    checkpoints=CHECKPOINTS,
)
