"""The recommenders by name. A new one is one new file and one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from reelmill.models.audiovisual import (
    data as audiovisual_data,
)
from reelmill.models.audiovisual import (
    model as audiovisual,
)
from reelmill.models.audiovisual import (
    task as audiovisual_task,
)
from reelmill.models.audiovisual import (
    write as audiovisual_write,
)
from reelmill.models.baselines.fm import FM, DeepFM, DeepFMSettings, FMSettings
from reelmill.models.baselines.fpmc import model as fpmc
from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.baselines.vbpr import data as vbpr_data
from reelmill.models.baselines.vbpr import model as vbpr
from reelmill.models.baselines.vbpr import task as vbpr_task
from reelmill.models.core.base import Data, Model, Task
from reelmill.models.core.settings import FitSettings
from reelmill.models.drnn import model as drnn
from reelmill.models.drnn import task as drnn_task
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.jifr import model as jifr
from reelmill.models.jifr import task as jifr_task
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.prnet import model as prnet
from reelmill.models.prnet import task as prnet_task
from reelmill.models.protocols.clicks.data import ROLES, load_clicks
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.models.protocols.highlights import data as prnet_data
from reelmill.models.protocols.items_and_frames import data as jifr_data
from reelmill.models.protocols.next_videos import data as drnn_data
from reelmill.models.protocols.segments import videos
from reelmill.models.transgrec import model as transgrec
from reelmill.models.transgrec import task as transgrec_task
from reelmill.storage.errors import InputError, nearest


@dataclass(frozen=True)
class Recommender:
    """What `fit` and `runs` need of a recommender."""

    settings: type[FitSettings]
    roles: Mapping[str, str]
    """{role: feature store by default}, such as {"features": "c3d-fc6"}: the vectors that it reads, and what for. An
    empty name leaves the role out."""
    load: Callable[..., Data]
    """(root, **{role: name of its store, empty if it is left out}) → data, with its fingerprint."""
    task: Callable[[Any, Any, torch.device], Task]
    """(data, settings, device) → task."""
    model: Callable[..., Model]
    """(settings, **sizes) → an empty model, to be filled from a checkpoint."""
    version: int
    """Raised when the code changes the numbers; part of a run's identity."""
    optional: frozenset[str] = frozenset()
    """Roles that can be left out. What the data then lack, and which settings cannot do without it, is the
    recommender's to say."""
    writes: tuple[str, ...] = ()
    """Names, without their fingerprints, of the feature stores that a fit writes."""
    write: Callable[..., dict[str, str]] | None = None
    """(root, name of the run, its model, the stores that it reads) → {layer: store}; writes what lacks there."""


def _over_fields(name: str, settings: type[FitSettings], model: Callable[..., Any]) -> Recommender:
    """A model over fields: one protocol for all, whose modalities can each be left out, and by default are."""
    task = partial(ClickTask, name, model)
    stores = dict.fromkeys(ROLES, "")
    return Recommender(settings, stores, load_clicks, task, model, version=2, optional=frozenset(ROLES))


RECOMMENDERS: dict[str, Recommender] = {
    "transgrec": Recommender(
        transgrec.TransGRecSettings,
        {"features": "c3d-fc6"},
        videos.load,
        transgrec_task.TransGRecTask,
        transgrec.TransGRec,
        version=1,
    ),
    "jifr": Recommender(
        jifr.JIFRSettings, {"frames": "vgg19-fc7"}, jifr_data.load, jifr_task.JIFRTask, jifr.JIFR, version=1
    ),
    "prnet": Recommender(
        prnet.PRNetSettings, {"steps": "c3d-conv5"}, prnet_data.load, prnet_task.PRNetTask, prnet.PRNet, version=1
    ),
    "multimodal": _over_fields("multimodal", MultimodalSettings, Multimodal),
    "fm": _over_fields("fm", FMSettings, FM),
    "deepfm": _over_fields("deepfm", DeepFMSettings, DeepFM),
    "bpr": Recommender(vbpr.BPRSettings, {}, vbpr_data.load, vbpr_task.BPRTask, vbpr.BPR, version=1),
    "vbpr": Recommender(
        vbpr.VBPRSettings, {"features": "vgg19-fc7"}, vbpr_data.load, vbpr_task.VBPRTask, vbpr.VBPR, version=1
    ),
    "audiovisual": Recommender(
        audiovisual.AudioVisualSettings,
        {"picture": "i3d-mixed_5c", "sound": "i3d_sound-mixed_5c"},
        audiovisual_data.load,
        audiovisual_task.AudioVisualTask,
        audiovisual.AudioVisual,
        version=1,
        writes=audiovisual_write.LAYERS,
        write=audiovisual_write.write,
    ),
    "drnn": Recommender(
        DRNNSettings,
        {"frames": "vgg19-fc6", "clips": "c3d-fc6", "text": "text", "topics": "topics", "posts": ""},
        drnn_data.load,
        drnn_task.DRNNTask,
        drnn.DRNN,
        version=1,
        optional=frozenset({"frames", "clips", "text", "topics", "posts"}),
    ),
    "fpmc": Recommender(FPMCSettings, {}, drnn_data.load, fpmc.FPMCTask, fpmc.FPMC, version=1),
}


def stores_of(name: str, given: str | Mapping[str, str] | None) -> dict[str, str]:
    """The store of each role of a recommender: one name for one that has a single role, {role: name} for some of the
    roles, and the defaults for the rest. An empty name leaves out a role that is optional: nothing is left out because
    its store does not exist. Raises InputError."""
    roles, optional = find(name).roles, find(name).optional
    if isinstance(given, str):
        if len(roles) > 1:
            raise InputError(
                f"{name} reads {len(roles)} stores ({', '.join(roles)}); give {{role: store}}, not {given!r}"
            )
        given = dict.fromkeys(roles, given)
    for role in given or {}:
        if role not in roles:
            raise InputError(f"{name} has no store {role!r}: {nearest(role, list(roles))}")
    chosen = {**roles, **(given or {})}
    for role, store in chosen.items():
        if not store and role not in optional:
            free = f"only {', '.join(sorted(optional))} can be left out" if optional else "none can be left out"
            raise InputError(f"{name} needs a store for {role!r} (by default {roles[role]!r}); {free}")
    return chosen


def find(name: str) -> Recommender:
    """The recommender of this name. Raises InputError."""
    if name not in RECOMMENDERS:
        raise InputError(f"model {name!r}: {nearest(name, list(RECOMMENDERS))}")
    return RECOMMENDERS[name]
