"""The extractors by name. A new one is one file and one line here."""

from dataclasses import fields
from typing import Any, TypeAlias

from reelmill.extractors.audio.i3d_sound import I3DSound
from reelmill.extractors.audio.logmel import LogMel
from reelmill.extractors.audio.mel import MelExtractor
from reelmill.extractors.audio.spectrogram import Spectrogram
from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.network import NetworkExtractor
from reelmill.extractors.core.settings import Settings
from reelmill.extractors.video.c3d import C3D
from reelmill.extractors.video.i3d import I3D
from reelmill.extractors.video.i3d_r50 import I3DR50
from reelmill.extractors.video.vgg19 import VGG19
from reelmill.storage.errors import InputError, nearest

Kind: TypeAlias = type[NetworkExtractor] | type[MelExtractor]

EXTRACTORS: dict[str, Kind] = {
    "c3d": C3D,
    "i3d": I3D,
    "i3d_r50": I3DR50,
    "vgg19": VGG19,
    "logmel": LogMel,
    "spectrogram": Spectrogram,
    "i3d_sound": I3DSound,
}


def build(name: str, **settings: Any) -> Extractor:
    """An extractor by name, e.g. `build("c3d", layers=("fc6", "conv5"), weights="random")`.

    The settings are the fields of `settings.Settings`. Raises InputError, with the nearest name, for an unknown
    extractor or setting, and whatever the extractor raises for a value that breaks a rule.
    """
    if name not in EXTRACTORS:
        raise InputError(f"extractor {name!r}: {nearest(name, tuple(EXTRACTORS))}")
    known = tuple(field.name for field in fields(Settings))
    for setting in settings:
        if setting not in known:
            raise InputError(f"setting {setting!r} of {name}: {nearest(setting, known)}")
    return EXTRACTORS[name](Settings(**settings))
