"""The extractor `i3d_r50`: 8 frames, 8/30 s apart → pool5 (2048). Its published weights; no torch.

`i3d_r50_network` has the network.
"""

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.network_settings import TimedFrameSettings
from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels

CHECKPOINTS = (
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
)

EXTRACTOR = Descriptor(
    name="i3d_r50",
    input="frames",
    layers={"pool5": 2048},
    default_layers=("pool5",),
    settings=TimedFrameSettings,
    implementation="reelmill.extractors.video.i3d_r50_network:I3DR50",
    paper="Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017; pytorchvideo's i3d_r50",
    checkpoints=CHECKPOINTS,
)
