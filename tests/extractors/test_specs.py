"""The names of the stores that each extractor writes by default, so that no refactoring changes them unnoticed: another
name is another store, and everything in a root would be extracted again."""

import pytest

from reelmill.extractors.registry import EXTRACTORS, build, build_encoder, find

STORES = {
    "c3d": {"fc6": "c3d-fc6-122e825e", "fc7": "c3d-fc7-824f8a63", "conv5": "c3d-conv5-4cb9e539"},
    "i3d": {"mixed_5c": "i3d-mixed_5c-a20009e7"},
    "i3d_r50": {"pool5": "i3d_r50-pool5-6701175d"},
    "vgg19": {"fc6": "vgg19-fc6-9ab35593", "fc7": "vgg19-fc7-54174d62"},
    "logmel": {"stats": "logmel-stats-fe82c666"},
    "spectrogram": {"parts": "spectrogram-parts-2806be52"},
    "i3d_sound": {"mixed_5c": "i3d_sound-mixed_5c-25e88352"},
}
"""Of frames and sound: random weights of seed 0, float32, segments of 5 s, a decoder called decoder-1, librosa 1."""
FITTED = {
    "text": ("text-dee2ee61", {"sentence": "text-sentence-7996053a"}),
    "topics": ("topics-f404f167", {"lda": "topics-lda-1fea74b4"}),
    "post_topics": ("post_topics-00d391d3", {"delta": "post_topics-delta-34aa033b"}),
}
"""Of text: the folder under ROOT/encoders, and the stores as they were called if nothing had been learned."""


def test_every_pinned_extractor_exists() -> None:
    """A new extractor needs no line here: its file and its line of the registry are enough."""
    assert {*STORES, *FITTED} <= set(EXTRACTORS)


@pytest.mark.parametrize("name", STORES)
def test_names_of_stores_of_frames_and_sound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelmill.extractors.audio.mel.version", lambda _: "1")
    weights = {"weights": "random", "seed": 0} if find(name).checkpoints else {}
    extractor = build(name, layers=list(STORES[name]), device="cpu", precision="float32", **weights)
    specs = extractor.specs(segment_ms=5000, decoder="decoder-1")
    assert {layer: spec.name for layer, spec in specs.items()} == STORES[name]
    assert {layer: spec.dim for layer, spec in specs.items()} == find(name).layers


@pytest.mark.parametrize("name", FITTED)
def test_names_of_folders_and_stores_of_text(name: str) -> None:
    encoder = build_encoder(name)
    specs = encoder.specs()
    assert (encoder.label, {layer: spec.name for layer, spec in specs.items()}) == FITTED[name]
    assert {layer: spec.dim for layer, spec in specs.items()}.items() <= find(name).layers.items()
