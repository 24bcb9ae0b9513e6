"""The attention-based multimodal click-through model (Hasama and Li)."""

from functools import partial

from reelmill.models.core.recommender import Caption, PlantedWorld, Preset, Recommender, lazy
from reelmill.models.multimodal.settings import ABLATIONS, MultimodalSettings
from reelmill.models.multimodal.world import World, ceiling, write
from reelmill.models.protocols.clicks.data import ROLES, load_clicks

_MODEL = lazy("reelmill.models.multimodal.model:Multimodal")

RECOMMENDER = Recommender(
    name="multimodal",
    paper="Hasama and Li, Attention-based Multimodal Feature Representation Model for Micro-video Recommendation",
    of_paper=True,
    settings=MultimodalSettings,
    roles=dict.fromkeys(ROLES, ""),
    reads_attributes=True,
    optional=frozenset(ROLES),
    load=load_clicks,
    task=partial(lazy("reelmill.models.protocols.clicks.task:ClickTask"), "multimodal", _MODEL),
    model=_MODEL,
    adviser=lazy("reelmill.models.multimodal.recommend:MultimodalAdviser"),
    plots=lazy("reelmill.models.multimodal.plots:plots"),
    captions={
        "modalities": Caption("Weights of the modalities", "Mean over test examples, by how much is known of a user."),
        "pairs": Caption("Attention over pairs of fields", "Mean weight of each pair in test examples."),
    },
    world=PlantedWorld(
        knobs=World,
        write=write,
        ceiling=ceiling,
        options={
            "dim": 8, "init_std": 0.1, "l2": 1e-3, "batch": 512, "learning_rate": 1e-2, "epochs": 25, "patience": 4,
            "split": "time", "test_share": 0.3, "hidden": "16",
        },
        small={"users": 40, "items": 40},
    ),
    presets={step: Preset(options, "§4.4") for step, options in ABLATIONS.items()},
    version=2,
)  # fmt: skip
