"""The Dynamic RNN (ACM Multimedia 2017)."""

from reelmill.models.core.recommender import Caption, PlantedWorld, Preset, Recommender, lazy
from reelmill.models.drnn.settings import VARIANTS, DRNNSettings
from reelmill.models.drnn.world import World, ceiling, write
from reelmill.models.protocols.next_videos.data import load

_ROLES = {"frames": "vgg19-fc6", "clips": "c3d-fc6", "text": "text", "topics": "topics", "posts": ""}

RECOMMENDER = Recommender(
    name="drnn",
    paper="Gao et al., A Unified Personalized Video Recommendation via Dynamic Recurrent Neural Networks, ACM MM 2017",
    of_paper=True,
    settings=DRNNSettings,
    roles=_ROLES,
    optional=frozenset(_ROLES),
    load=load,
    task=lazy("reelmill.models.drnn.task:DRNNTask"),
    model=lazy("reelmill.models.drnn.model:DRNN"),
    adviser=lazy("reelmill.models.drnn.recommend:DRNNAdviser"),
    plots=lazy("reelmill.models.drnn.plots:plots"),
    captions={
        "memory": Caption(
            "Weight of the past, by age", "The share that watches and posts of each age have in a test user's interest."
        ),
        "months": Caption(
            "How far ahead the lists reach", "The lists compared with what users watch in each later month alone."
        ),
    },
    world=PlantedWorld(
        knobs=World,
        write=write,
        ceiling=ceiling,
        options={
            "dim": 32, "hidden": 32, "batch": 256, "epochs": 10, "patience": 0, "learning_rate": 0.02,
            "least_videos": 5, "least_posts": 1, "longest": 8, "memory": 10, "test_share": 0.4,
            "validation_share": 0.15,
        },
        small={"users": 60},
    ),
    presets={
        "long": Preset({}, "table 1"),
        "short": Preset({"known_months": 3}, "table 1"),
        "cold start": Preset({"network": "cross", "cold_start": True}, "table 2"),
        **{variant: Preset({"variant": variant}, "figure 3") for variant in VARIANTS},
    },
    version=1,
)  # fmt: skip
