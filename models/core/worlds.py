"""Planted worlds: roots with a known answer, for what real data cannot show. A recommender must find what was planted,
stay at chance on the noise twin, and its components must win where their knob is on and not where it is off.

A world is a frozen dataclass of knobs. Its module has `write(root, world)`, which writes real tables and stores and
gives {role: name of the store}, and `ceiling(world)`, what the true latents would score. No world uses model code.
"""

from collections.abc import Callable
from typing import Any

from reelmill.models.audiovisual import world as audiovisual
from reelmill.models.drnn import world as drnn
from reelmill.models.jifr import world as jifr
from reelmill.models.multimodal import world as multimodal
from reelmill.models.prnet import world as prnet
from reelmill.models.transgrec import world as transgrec

WORLDS: dict[str, tuple[type[Any], Callable[..., dict[str, str]]]] = {
    "audiovisual": (audiovisual.World, audiovisual.write),
    "drnn": (drnn.World, drnn.write),
    "jifr": (jifr.World, jifr.write),
    "multimodal": (multimodal.World, multimodal.write),
    "prnet": (prnet.World, prnet.write),
    "transgrec": (transgrec.World, transgrec.write),
}
"""{recommender: (knobs, write)}."""
