"""The extractor `i3d_sound`: I3D over the 32 spectrograms of a video as one clip → mixed_5c (1024). No torch.

`i3d_sound_network` has the network. The paper's weights are not published: `weights` is `random` or a file of your own,
with the names of tensors of either published I3D file.
"""

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.network_settings import NetworkSettings
from reelmill.extractors.weights.checkpoints import Checkpoint
from reelmill.extractors.weights.i3d_names import I3D_EITHER

OWN = Checkpoint(
    name="own",
    extractor="i3d_sound",
    file="",
    url=None,
    sha256=None,
    pixels=None,
    layout=I3D_EITHER,
    licence="that of the file",
    citation="Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017",
)

EXTRACTOR = Descriptor(
    name="i3d_sound",
    input="sound",
    layers={"mixed_5c": 1024},
    default_layers=("mixed_5c",),
    settings=NetworkSettings,
    implementation="reelmill.extractors.audio.i3d_sound_network:I3DSound",
    paper="Paper 003, §3.1: I3D with a single input channel over 32 spectrograms of the sound",
    checkpoints=(OWN,),
)
