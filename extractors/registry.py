"""The extractors by name. A new one is one file and one line here."""

from dataclasses import fields
from typing import Any

from extractors.base import Extractor
from extractors.c3d import C3D
from extractors.i3d import I3D
from extractors.i3d_r50 import I3DR50
from extractors.network import NetworkExtractor, Settings
from extractors.vgg19 import VGG19
from storage.errors import InputError, nearest

EXTRACTORS: dict[str, type[NetworkExtractor]] = {"c3d": C3D, "i3d": I3D, "i3d_r50": I3DR50, "vgg19": VGG19}


def build(name: str, **settings: Any) -> Extractor:
    """An extractor by name, e.g. `build("c3d", layers=("fc6", "conv5"), weights="random")`.

    The settings are the fields of `network.Settings`. Raises InputError, with the nearest name, for an unknown
    extractor or setting, and whatever the extractor raises for a value that breaks a rule.
    """
    if name not in EXTRACTORS:
        raise InputError(f"extractor {name!r}: {nearest(name, tuple(EXTRACTORS))}")
    known = tuple(field.name for field in fields(Settings))
    for setting in settings:
        if setting not in known:
            raise InputError(f"setting {setting!r} of {name}: {nearest(setting, known)}")
    return EXTRACTORS[name](Settings(**settings))
