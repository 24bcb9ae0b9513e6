"""All extractors by name: of frames, sound and text. A new one is its own file and one line here.

Each module holds a `Descriptor` named EXTRACTOR and imports no torch, so extractors are listed and their settings are
checked without it. The class that computes is imported when the extractor is built.
"""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import Compute, ExtractorSettings
from reelmill.extractors.text.fitted import Encoder
from reelmill.extractors.weights.checkpoints import Checkpoint
from reelmill.storage.errors import InputError, nearest

EXTRACTORS = {
    "c3d": "reelmill.extractors.video.c3d",
    "i3d": "reelmill.extractors.video.i3d",
    "i3d_r50": "reelmill.extractors.video.i3d_r50",
    "vgg19": "reelmill.extractors.video.vgg19",
    "logmel": "reelmill.extractors.audio.logmel",
    "spectrogram": "reelmill.extractors.audio.spectrogram",
    "i3d_sound": "reelmill.extractors.audio.i3d_sound",
    "text": "reelmill.extractors.text.sentence",
    "topics": "reelmill.extractors.text.topics",
    "post_topics": "reelmill.extractors.text.twitter_lda",
}
"""{name: module}"""


def find(name: str) -> Descriptor:
    """The descriptor of an extractor. Raises InputError, with the nearest name, for an unknown one."""
    if name not in EXTRACTORS:
        raise InputError(f"extractor {name!r}: {nearest(name, tuple(EXTRACTORS))}")
    return import_module(EXTRACTORS[name]).EXTRACTOR


def descriptors() -> list[Descriptor]:
    """The descriptors of all extractors, in the order of the registry."""
    return [find(name) for name in EXTRACTORS]


def reads_text(name: str) -> bool:
    """Whether this extractor reads texts and not windows of a video. Raises InputError for an unknown name."""
    return find(name).input == "text"


def settings_for(name: str, values: Mapping[str, Any]) -> ExtractorSettings:
    """Settings of an extractor from plain values. Raises InputError for an unknown extractor, for an unknown key (with
    the nearest one, or the extractors that have it), and for a value that breaks a rule."""
    found = find(name)
    own = _keys(found)
    for key in values:
        if key not in own:
            owners = [other.name for other in descriptors() if key in _keys(other)]
            advice = f"it is a setting of {', '.join(owners)}" if owners else nearest(str(key), own)
            raise InputError(f"{name} has no setting {key!r}: {advice}")
    return found.settings_of(values)


def build(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False, **settings: Any
) -> Extractor:
    """An extractor of frames or sound, e.g. `build("c3d", layers=("fc6", "conv5"), weights="random")`.

    Raises InputError as `settings_for` does, and for weights that cannot be loaded.
    """
    return extractor(name, settings_for(name, settings), Compute(device, precision, compile))


def extractor(name: str, settings: ExtractorSettings, compute: Compute) -> Extractor:
    """An extractor of frames or sound with these settings and its weights loaded. Raises InputError."""
    if reads_text(name):
        raise InputError(f"{name} reads texts, not windows of a video; use `encoder`")
    return find(name).load()(settings, compute)


def encoder(name: str, settings: ExtractorSettings, compute: Compute | None = None) -> Encoder:
    """An extractor of text with these settings, not fitted yet. Raises InputError."""
    if not reads_text(name):
        raise InputError(f"{name} reads windows of a video, not texts; use `extractor`")
    return find(name).load()(settings, compute or Compute())


def build_encoder(name: str, *, device: str = "auto", **settings: Any) -> Encoder:
    """An extractor of text, not fitted yet, e.g. `build_encoder("topics", topics=50, seed=1)`. Raises InputError as
    `settings_for` does."""
    return encoder(name, settings_for(name, settings), Compute(device))


def checkpoints() -> dict[str, Checkpoint]:
    """{name: record} of the published weights of all extractors."""
    return {record.name: record for found in descriptors() for record in found.checkpoints if record.file}


def checkpoint(name: str) -> Checkpoint:
    """Published weights by name. Raises InputError, with the nearest name."""
    known = checkpoints()
    if name not in known:
        raise InputError(f"weights {name!r}: {nearest(name, tuple(known))}")
    return known[name]


def _keys(found: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in fields(found.settings))
