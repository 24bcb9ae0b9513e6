"""The audio-visual feature network of the multimodal click-through paper (Hasama and Li, §3.1 and 3.4). It classifies
videos and recommends nothing: its features are stores that `multimodal` can read."""

from reelmill.models.audiovisual.data import load
from reelmill.models.audiovisual.settings import LAYERS, AudioVisualSettings
from reelmill.models.audiovisual.world import World
from reelmill.models.audiovisual.world import write as write_world
from reelmill.models.core.recommender import PlantedWorld, Preset, Recommender, lazy

RECOMMENDER = Recommender(
    name="audiovisual",
    paper="Hasama and Li, Attention-based Multimodal Feature Representation Model for Micro-video Recommendation",
    settings=AudioVisualSettings,
    roles={"picture": "i3d-mixed_5c", "sound": "i3d_sound-mixed_5c"},
    load=load,
    task=lazy("reelmill.models.audiovisual.task:AudioVisualTask"),
    model=lazy("reelmill.models.audiovisual.model:AudioVisual"),
    world=PlantedWorld(
        knobs=World,
        write=write_world,
        options={"dim": 16, "width": 64, "epochs": 60, "patience": 10, "learning_rate": 3e-3, "test_share": 0.3},
        small={"videos": 160, "users": 10},
    ),
    presets={apart: Preset({"apart": apart}, "eq. 11") for apart in ("hinge", "orthogonal", "as_printed")},
    reads_attributes=True,
    version=1,
    writes=LAYERS,
    write=lazy("reelmill.models.audiovisual.write:write"),
)
