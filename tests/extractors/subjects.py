"""Any extractor of the registry behind one face, for the contract: built cheaply, given inputs of its own kind."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.frames import FramePlan
from reelmill.extractors.core.sound import NO_SOUND, NO_TIME, SoundPlan
from reelmill.extractors.registry import build, build_encoder, find
from reelmill.extractors.text.fitted import Encoder
from reelmill.extractors.text.words import Document
from reelmill.storage import Spec
from tests.texts import planted

SEGMENT_MS, DECODER = 1000, "decoder-1"
QUICK = {"weights": "random", "steps": 3, "sweeps": 2, "topics": 5, "batch_size": 2}
"""For every extractor, as far as it has these settings."""
DOCUMENTS = planted(60, 10)[0]
"""What those of text are fitted on."""

Inputs: TypeAlias = Sequence[np.ndarray] | Sequence[Document]


class Subject:
    """One extractor of the registry, on the CPU, in float32, with all its layers."""

    def __init__(self, name: str) -> None:
        self.about = find(name)
        self.reads_text = self.about.input == "text"

    def make(self, precision: str = "float32", **settings: Any) -> Extractor | Encoder:
        """Another one with other settings; one of text is fitted."""
        own = {field.name for field in fields(self.about.settings)}
        chosen = {name: value for name, value in QUICK.items() if name in own} | settings
        chosen = {"layers": tuple(self.about.layers), **chosen}
        if not self.reads_text:
            return build(self.about.name, device="cpu", precision=precision, **chosen)
        encoder = build_encoder(self.about.name, device="cpu", **chosen)
        encoder.fit(DOCUMENTS)
        return encoder

    @cached_property
    def extractor(self) -> Extractor | Encoder:
        """Built once."""
        return self.make()

    @cached_property
    def rough(self) -> Extractor | Encoder:
        """In the precision in which this machine is quick."""
        return self.make(precision="auto")

    @cached_property
    def known(self) -> dict[str, np.ndarray]:
        """{layer: (2, dim)}, the vectors of the first two inputs, in float32."""
        return self.vectors(self.inputs(2))

    def inputs(self, count: int) -> Inputs:
        """So many, each another: windows or documents."""
        if self.reads_text:
            return DOCUMENTS[:count]
        assert not isinstance(self.extractor, Encoder)
        return [window(self.extractor, seed) for seed in range(count)]

    def vectors(self, inputs: Inputs, extractor: Extractor | Encoder | None = None) -> dict[str, np.ndarray]:
        """{layer: (inputs, dim)} of `extractor` (`self.extractor` if not given), windows in full batches."""
        used = extractor or self.extractor
        if isinstance(used, Encoder):
            found = used.encode([document for document in inputs if isinstance(document, Document)])
            return {layer: found[layer] for layer in used.layers}
        filled = [*inputs, *[inputs[0]] * (-len(inputs) % used.batch_size)]
        starts = range(0, len(filled), used.batch_size)
        parts = [used.forward(np.stack(filled[start : start + used.batch_size])) for start in starts]  # type: ignore[arg-type]
        return {layer: np.concatenate([part[layer] for part in parts])[: len(inputs)] for layer in used.layers}

    def specs(self, extractor: Extractor | Encoder | None = None) -> dict[str, Spec]:
        """The spec of each layer."""
        used = extractor or self.extractor
        return used.specs() if isinstance(used, Encoder) else used.specs(segment_ms=SEGMENT_MS, decoder=DECODER)


def window(extractor: Extractor, seed: int) -> np.ndarray:
    """A window of noise of the extractor's plan; of sound with a gap, and an end before the window's."""
    rng, plan = np.random.default_rng(seed), extractor.plan
    if isinstance(plan, FramePlan):
        return rng.integers(0, 256, plan.shape(), np.uint8)
    assert isinstance(plan, SoundPlan)
    samples = (0.1 * rng.standard_normal(plan.shape(SEGMENT_MS))).astype(np.float32)
    samples[..., 3000:3500] = NO_SOUND
    samples[..., 16_000:] = NO_TIME
    return samples
