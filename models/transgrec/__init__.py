"""TransGRec: learning to transfer graph embeddings (Wu et al., SIGIR 2020)."""

from reelmill.models.core.recommender import Caption, PlantedWorld, Preset, Recommender, lazy
from reelmill.models.protocols.segments import videos
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import World, ceiling, write

_A = {"variant": "adversarial"}

RECOMMENDER = Recommender(
    name="transgrec",
    paper="Wu et al., Learning to Transfer Graph Embeddings for Inductive Graph based Recommendation, SIGIR 2020",
    of_paper=True,
    settings=TransGRecSettings,
    roles={"features": "c3d-fc6"},
    load=videos.load,
    task=lazy("reelmill.models.transgrec.task:TransGRecTask"),
    model=lazy("reelmill.models.transgrec.model:TransGRec"),
    adviser=lazy("reelmill.models.transgrec.recommend:TransGRecAdviser"),
    plots=lazy("reelmill.models.transgrec.plots:plots"),
    captions={
        "t_sne": Caption(
            "Items in three forms",
            "t-SNE: items that are close are alike; the axes mean nothing. Where v̂ lies on v, the transfer network "
            "finds from features alone what the graph network learnt.",
        ),
    },
    world=PlantedWorld(
        knobs=World,
        write=write,
        ceiling=ceiling,
        options={"dim": 32, "batch": 500, "epochs": 40, "patience": 8, "learning_rate": 0.01, "l2": 1e-3},
        small={"users": 60, "old_videos": 20, "new_videos": 6},
    ),
    presets={
        "TransGRec-E": Preset({}, "tables 2 and 3"),
        "TransGRec-A": Preset({**_A, "depth": 1}, "tables 2 and 3"),
        **{f"E, K = {depth}": Preset({"depth": depth}, "table 4") for depth in (2, 0, 1, 3)},
        **{f"A, K = {depth}": Preset({**_A, "depth": depth}, "table 5") for depth in (1, 0, 2)},
    },
    version=1,
)
