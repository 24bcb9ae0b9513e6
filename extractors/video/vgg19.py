"""The extractor `vgg19`: one frame → fc6 or fc7 (4096), after ReLU. Its published weights; no torch.

`vgg19_network` has the network.
"""

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.network_settings import TimedFrameSettings
from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels

CHECKPOINTS = (
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

EXTRACTOR = Descriptor(
    name="vgg19",
    input="frames",
    layers={"fc6": 4096, "fc7": 4096},
    default_layers=("fc7",),
    settings=TimedFrameSettings,
    implementation="reelmill.extractors.video.vgg19_network:VGG19",
    paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
    checkpoints=CHECKPOINTS,
)
