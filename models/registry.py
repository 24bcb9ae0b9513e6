"""The recommenders by name, and the only list of them. A new one is one folder (or one file under `baselines/`) with a
descriptor (`core.recommender`), and one line here; training, recommending, the report, the command line and the
contract tests then know it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from reelmill.models.core.recommender import PlantedWorld, Recommender, SharedWorld, resolve
from reelmill.models.core.settings import FitSettings
from reelmill.storage.errors import InputError, nearest


class Entry(NamedTuple):
    """One line of the registry, so that names and titles can be listed without importing any recommender."""

    descriptor: str
    """`module:name` of its `Recommender`."""
    title: str
    """What it ranks and by what, in a few words."""


RECOMMENDERS: dict[str, Entry] = {
    "transgrec": Entry("reelmill.models.transgrec:RECOMMENDER", "segments, by a graph that reaches new videos"),
    "jifr": Entry("reelmill.models.jifr:RECOMMENDER", "items and their key frames, by ratings and frame features"),
    "prnet": Entry("reelmill.models.prnet:RECOMMENDER", "highlights of a video, by a user's past highlights"),
    "multimodal": Entry("reelmill.models.multimodal:RECOMMENDER", "clicks, by attention over fields and modalities"),
    "video2gif": Entry("reelmill.models.baselines.video2gif:VIDEO2GIF_RECOMMENDER", "segments, the same for all users"),
    "phdgifs": Entry("reelmill.models.baselines.video2gif:PHDGIFS_RECOMMENDER", "segments, by a mean of those liked"),
    "svmd": Entry("reelmill.models.baselines.svmd:RECOMMENDER", "segments, by similarity to those liked"),
    "cdl": Entry("reelmill.models.baselines.cdl:CDL_RECOMMENDER", "segments, by their distance from a user"),
    "lapreg": Entry("reelmill.models.baselines.cdl:LAPREG_RECOMMENDER", "segments, by cdl tied along a graph of likes"),
    "dropoutnet": Entry("reelmill.models.baselines.dropoutnet:RECOMMENDER", "segments, by factors found from content"),
    "fm": Entry("reelmill.models.baselines.fm:FM_RECOMMENDER", "clicks, by a factorisation machine over fields"),
    "deepfm": Entry("reelmill.models.baselines.fm:DEEPFM_RECOMMENDER", "clicks, by fm plus a perceptron"),
    "bpr": Entry("reelmill.models.baselines.vbpr:BPR_RECOMMENDER", "items, by pairwise matrix factorisation"),
    "vbpr": Entry("reelmill.models.baselines.vbpr:VBPR_RECOMMENDER", "items, by bpr plus item features"),
    "audiovisual": Entry("reelmill.models.audiovisual:RECOMMENDER", "no ranking: features of picture and sound"),
    "drnn": Entry("reelmill.models.drnn:RECOMMENDER", "the next videos, by topics watched and posted over time"),
    "knn": Entry("reelmill.models.baselines.knn:RECOMMENDER", "the next videos, by similar videos or users"),
    "lfm": Entry("reelmill.models.baselines.lfm:RECOMMENDER", "the next videos, by weighted matrix factorisation"),
    "mknn": Entry("reelmill.models.baselines.mknn:RECOMMENDER", "the next videos, by users who post about the same"),
    "cb": Entry("reelmill.models.baselines.cb:RECOMMENDER", "the next videos, by words of posts and of videos"),
    "sca": Entry("reelmill.models.baselines.sca:RECOMMENDER", "the next videos, by a map from posts to topics watched"),
    "fpmc": Entry("reelmill.models.baselines.fpmc:RECOMMENDER", "the next videos, by factorised Markov chains"),
}


def find(name: str) -> Recommender:
    """The recommender of this name. Raises InputError."""
    if name not in RECOMMENDERS:
        raise InputError(f"model {name!r}: {nearest(name, list(RECOMMENDERS))}")
    return resolve(RECOMMENDERS[name].descriptor)


def of_papers() -> list[str]:
    """The recommenders that the papers propose, in the order of the registry."""
    return [name for name in RECOMMENDERS if find(name).of_paper]


def settings_for(name: str, options: Mapping[str, Any]) -> FitSettings:
    """A recommender's settings from plain options. Raises InputError for an unknown model, setting or value."""
    return find(name).settings.from_dict(options)


def stores_of(name: str, given: str | Mapping[str, str] | None) -> dict[str, str]:
    """The store of each role of a recommender: one name for one that has a single role, {role: name} for some of the
    roles, and the defaults for the rest. An empty name leaves out a role that is optional; a missing store never does.
    Raises InputError."""
    recommender = find(name)
    roles, optional = recommender.roles, recommender.optional
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


@dataclass(frozen=True)
class World:
    """The planted world on which a recommender is fitted."""

    name: str
    """The recommender that it was made for."""
    planted: PlantedWorld
    options: Mapping[str, Any]
    """Settings of the recommender that suit it."""
    roles: Mapping[str, str] | None
    """{role: role of the world}; None if the roles are the world's own."""

    def stores(self, written: Mapping[str, str]) -> dict[str, str]:
        """{role: store} of the recommender, from {role: store} of the world."""
        return dict(written) if self.roles is None else {role: written[of] for role, of in self.roles.items()}


def world_of(name: str) -> World:
    """The planted world of a recommender, its own or one that it shares. Raises InputError if there is none."""
    world = find(name).world
    if isinstance(world, PlantedWorld):
        return World(name, world, world.options, None)
    if isinstance(world, SharedWorld):
        return World(world.of, world_of(world.of).planted, world.options, world.roles)
    known = [other for other in RECOMMENDERS if find(other).world is not None]
    raise InputError(f"no world is planted for {name!r}; {nearest(name, known)}")
