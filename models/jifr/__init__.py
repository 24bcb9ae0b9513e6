"""JIFR: personalised multimedia item and key frame recommendation (Wu et al., IJCAI 2019)."""

from reelmill.models.core.recommender import Caption, PlantedWorld, Preset, Recommender, lazy
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.jifr.world import World, ceiling, write
from reelmill.models.protocols.items_and_frames.data import load

RECOMMENDER = Recommender(
    name="jifr",
    paper="Wu et al., Personalized Multimedia Item and Key Frame Recommendation, IJCAI 2019",
    of_paper=True,
    settings=JIFRSettings,
    roles={"frames": "vgg19-fc7"},
    load=load,
    task=lazy("reelmill.models.jifr.task:JIFRTask"),
    model=lazy("reelmill.models.jifr.model:JIFR"),
    adviser=lazy("reelmill.models.jifr.recommend:JIFRAdviser"),
    plots=lazy("reelmill.models.jifr.plots:plots"),
    captions={
        "frames": Caption(
            "Attention over the frames of an item",
            "α of the most rated items; dashed: all frames alike. β₂: the mean weight of the visual part for the users "
            "who rated the item.",
        ),
        "sight": Caption("Weight of the visual part", "β₂ of an item, mean over the users who rated it."),
    },
    world=PlantedWorld(
        knobs=World,
        write=write,
        ceiling=ceiling,
        options={
            "dim": 16, "hidden": 16, "epochs": 50, "patience": 8, "learning_rate": 0.02, "l2": 3e-3, "batch": 512,
            "negatives": 4,
        },
        small={"users": 60, "items": 40},
    ),
    presets={
        "JIFR_NA": Preset({"visual_attention": False, "rating_attention": False}, "figures 3 and 4"),
        "JIFR": Preset({}, "figures 3 and 4"),
        "avg/avg": Preset({"visual_attention": False, "rating_attention": False}, "table 2"),
        "avg/att": Preset({"visual_attention": False}, "table 2"),
        "att/avg": Preset({"rating_attention": False}, "table 2"),
        "att/att": Preset({}, "table 2"),
    },
    version=1,
)  # fmt: skip
