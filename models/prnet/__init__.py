"""PR-Net: preference reasoning for personalised video highlight detection (Chen et al., ICCV 2021)."""

from reelmill.models.core.recommender import Caption, PlantedWorld, Preset, Recommender, lazy
from reelmill.models.prnet.settings import TABLE_2, PRNetSettings
from reelmill.models.prnet.world import World, ceiling, write
from reelmill.models.protocols.highlights.data import load

RECOMMENDER = Recommender(
    name="prnet",
    paper="Chen et al., PR-Net: Preference Reasoning for Personalized Video Highlight Detection, ICCV 2021",
    of_paper=True,
    settings=PRNetSettings,
    roles={"steps": "c3d-conv5"},
    load=load,
    task=lazy("reelmill.models.prnet.task:PRNetTask"),
    model=lazy("reelmill.models.prnet.model:PRNet"),
    adviser=lazy("reelmill.models.prnet.recommend:PRNetAdviser"),
    plots=lazy("reelmill.models.prnet.plots:plots"),
    captions={
        "attention": Caption(
            "Attention over past highlights, step by step",
            "Weights of a test user's past highlights (video and time) and of the generic preference; at each step "
            "they add up to one.",
            wide=True,
        ),
    },
    world=PlantedWorld(
        knobs=World,
        write=write,
        ceiling=ceiling,
        options={
            "dim": 32, "window": 96, "batch": 16, "learning_rate": 3e-3, "epochs": 12, "patience": 0,
            "validation_share": 0.05, "test_share": 0.4, "tested": "every",
        },
        small={"users": 30},
    ),
    presets={row: Preset(options, "table 2") for row, options in TABLE_2.items()},
    version=1,
)  # fmt: skip
