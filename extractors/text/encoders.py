"""The encoders of text by name. A new one is one file and one line here. Importing this imports no torch."""

from importlib import import_module
from typing import Any

from reelmill.extractors.text.fitted import Encoder
from reelmill.storage.errors import InputError, nearest

ENCODERS = {
    "text": "reelmill.extractors.text.sentence:Sentence",
    "topics": "reelmill.extractors.text.topics:LDA",
    "post_topics": "reelmill.extractors.text.twitter_lda:TwitterLDA",
}
"""Where each is, imported when it is asked for: the sentence network brings torch."""


def encoder_class(name: str) -> type[Encoder]:
    """Raises InputError, with the nearest name, for one that there is not."""
    if name not in ENCODERS:
        raise InputError(f"encoder {name!r}: {nearest(name, tuple(ENCODERS))}")
    module, _, found = ENCODERS[name].partition(":")
    return getattr(import_module(module), found)


def build(name: str, **settings: Any) -> Encoder:
    """An encoder by name, not fitted yet, e.g. `build("topics", topics=50, seed=1)`. Raises InputError for an unknown
    name or setting, and for a value that breaks a rule."""
    return encoder_class(name)(**settings)
