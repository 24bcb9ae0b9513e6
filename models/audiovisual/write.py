"""The features of the fitted audio-visual network as two stores, one row a video: `audiovisual-picture-…` holds [H_v^p;
H_v^s], `audiovisual-sound-…` [H_a^p; H_a^s], private half first. A model that reads modalities, such as `multimodal`,
takes them like any other store.

Every video of the two stores that the network reads gets its row, also one without a class; where nothing of a modality
is usable the row is masked. What is there already, from the same vectors, is not written again.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

from reelmill.models.audiovisual.model import AudioVisual
from reelmill.models.audiovisual.settings import MODALITIES
from reelmill.models.data.vectors import CHUNK, usable
from reelmill.storage import Block, FeatureStore, FeatureWriter, Root, Spec
from reelmill.storage.features import NO_DATA, PADDED, VALID
from reelmill.storage.place import AnyRoot


def write(root: AnyRoot, run: str, model: AudioVisual, stores: Mapping[str, str]) -> dict[str, str]:
    """Write what is missing in the stores of a run of this name, which reads {role: store}; {modality: store written}.
    Raises InputError if one that it reads is gone."""
    root = Root(root)
    read = {role: root.features.open(stores[role]) for role in MODALITIES}
    videos = sorted({video for store in read.values() for video in store.keys()})  # noqa: SIM118
    return {role: _write(root, run, model, role, read, videos) for role in MODALITIES}


def spec_of(model: AudioVisual, role: str, read: Spec) -> Spec:
    """What the numbers of a modality are: those of the store that it is read from, under these weights."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(name.encode() + value.cpu().numpy().tobytes())
    how = {"input": read.name, "rows": "mean", "halves": ["private", "public"]}
    return Spec("audiovisual", role, 2 * model.settings.dim, "video", preprocessing=how,
                weights="fitted", weights_sha256=sha.hexdigest())  # fmt: skip


def _write(
    root: Root, run: str, model: AudioVisual, role: str, read: dict[str, FeatureStore], videos: list[str]
) -> str:
    store = read[role]
    spec = spec_of(model, role, store.spec)
    there = root.features.of(spec).provenance(set(videos))
    with FeatureWriter(root, spec) as writer:
        for first in range(0, len(videos), CHUNK):
            some = videos[first : first + CHUNK]
            means, mask, ends = _means(store, some, read)
            vectors = model.describe(role, torch.from_numpy(means)).numpy()
            for n, video in enumerate(some):
                came = {"run": run, "input_sha256": hashlib.sha256(means[n].tobytes()).hexdigest()}
                if there.get(video, {}).get("input_sha256") == came["input_sha256"]:
                    continue
                start, row = np.zeros(1, np.int64), vectors[[n]]
                writer.add(Block(video, row, mask[[n]], start.astype(np.int32), start, ends[[n]], came))
    return spec.name


def _means(
    store: FeatureStore, videos: list[str], read: dict[str, FeatureStore]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (n, ·) float32 over the usable rows of videos (n,), NaN without one; mask (n,) of what is made of it; and
    the end (n,) of each video in ms, by whichever store has it."""
    means = np.full((len(videos), store.spec.dim), np.nan, np.float32)
    mask, ends = np.full(len(videos), NO_DATA, np.uint8), np.zeros(len(videos), np.int64)
    for n, video in enumerate(videos):
        for one in read.values():
            if video in one and len(block := one.read(video)):
                ends[n] = max(ends[n], int(block.stop_ms.max()))
        if video not in store:
            continue
        block = store.read(video)
        kept = usable(block)
        if kept.any():
            means[n] = block.features[kept].mean(axis=0, dtype=np.float64)
            mask[n] = VALID if kept.all() and (block.mask == VALID).all() else PADDED
    return means, mask, ends
