"""Encoders of text: what is learned from a corpus, kept, and used again.

Weights of networks are published; those of a text encoder are learned from the texts of the root:

    ROOT/encoders/topics-1f0c22ab/part-….npz    kind, hash of its settings; immutable, the newest part counts

A corpus that grows goes on with what was fitted first, so that its store keeps its spec. The hash of what was learned
is part of the spec: another fit is another store.
"""

import contextlib
import hashlib
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import Compute, ExtractorSettings
from reelmill.extractors.text.words import Document
from reelmill.storage import Spec, cache, parts
from reelmill.storage.arrays import load_arrays
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.place import AnyPath, place

Progress = Callable[[float], None]
"""Told the share of a fit that is done."""


class Encoder(ABC):
    """Documents in, a vector each out, once it is fitted or loaded."""

    about: ClassVar[Descriptor]
    rows: ClassVar[Literal["video", "post"]]
    """What a document is."""
    not_learned: ClassVar[frozenset[str]] = frozenset({"layers", "refit"})
    """Settings that change nothing of what is learned, or stand in `identity` as something else."""
    code_version: ClassVar[int] = 1
    """Raised when a change here alters the numbers."""
    layers: tuple[str, ...]
    """Layers to store."""
    identity: dict[str, Any]
    """Settings that change what is learned, as plain JSON."""
    dim: int
    """Length of a vector."""
    fitted_on = ""
    """Hash of the texts that it was fitted on, if it was by way of a root."""
    sha256 = ""
    """Of what was learned; empty before."""

    def __init__(self, settings: ExtractorSettings | None = None, compute: Compute | None = None) -> None:
        """The extractor's default settings if none are given. Raises InputError for an unknown layer."""
        self.name = self.about.name
        self.settings: Any = settings if settings is not None else self.about.settings()
        self.compute = compute or Compute()
        self.layers = self.about.chosen(self.settings.layers)
        self.identity = {"kind": self.name, "code_version": self.code_version, **self._identify()}

    def _identify(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self.settings).items() if name not in self.not_learned}

    @abstractmethod
    def fit(self, documents: Sequence[Document], progress: Progress = lambda share: None) -> None:
        """Learn from these documents, and from nothing before. The same documents, settings and seed give the same
        bits. Raises TooLittleText where there is nothing to learn from."""

    @abstractmethod
    def transform(self, documents: Sequence[Document]) -> np.ndarray:
        """(documents, dim) float32; NaN where a document has no word that is known."""

    def encode(self, documents: Sequence[Document]) -> dict[str, np.ndarray]:
        """Every layer, as `transform` gives it."""
        return {self.about.default_layers[0]: self.transform(documents)}

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What was learned: plain JSON values, and arrays."""

    @abstractmethod
    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Inverse of `state`."""

    @property
    def label(self) -> str:
        """`topics-1f0c22ab`: the encoder with these settings, whatever it was fitted on."""
        text = json.dumps(self.identity, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def specs(self) -> dict[str, Spec]:
        """The spec of each layer to store, once it is fitted."""
        return {
            layer: Spec(
                self.name, layer, self.dim, self.rows, preprocessing=self.identity, weights=self.label,
                weights_sha256=self.sha256, code_version=self.code_version,
            )
            for layer in self.layers
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write what was learned as one file: a zip of plain arrays, no pickle."""
        facts, arrays = self._content()
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        self.sha256 = _digest(facts, arrays)

    def read(self, path: Path) -> None:
        """Take in what `save` wrote, with the same settings. Raises CorruptPart for anything else."""
        with _readable(path, self.name):
            self._take_in(*_parse(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The encoder that `save` wrote, with its settings. Raises CorruptPart for anything else."""
        with _readable(path, cls.about.name):
            facts, arrays = _parse(path)
            names = {field.name for field in fields(cls.about.settings)} - cls.not_learned
            loaded = cls(cls.about.settings(**{name: facts["identity"][name] for name in names}))
            if {**facts["identity"], **loaded.identity}.keys() != loaded.identity.keys():
                raise ValueError("fitted by another version")
            loaded.identity |= {name: facts["identity"][name] for name in cls.not_learned & loaded.identity.keys()}
            loaded._take_in(facts, arrays)
        return loaded

    def _take_in(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if facts["identity"] != self.identity:
            raise ValueError(f"fitted as {facts['identity']}")
        self.restore(facts["learned"], arrays)
        self.fitted_on, self.sha256 = str(facts["fitted_on"]), _digest(facts, arrays)

    def _content(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        learned, arrays = self.state()
        return {"identity": self.identity, "fitted_on": self.fitted_on, "learned": learned}, arrays


def _digest(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes; not of the file, since zip libraries differ."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _parse(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = load_arrays(path)
    return json.loads(arrays.pop("facts").tobytes()), arrays


@contextlib.contextmanager
def _readable(path: Path, name: str) -> Iterator[None]:
    """Turn what a damaged or foreign file makes the libraries raise into CorruptPart."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, EOFError, InputError, zipfile.BadZipFile) as error:
        raise CorruptPart(f"{path} is not a fitted {name} ({error}); move it away and run again") from error


def find(root: str | Path, encoder: Encoder) -> bool:
    """Have the encoder take in what the root keeps of its kind and settings; False if there is nothing."""
    kept = parts.list_parts(_folder(root, encoder), ".npz")
    if kept:
        cache.reading(kept[-1], encoder.read)
    return bool(kept)


def keep(root: str | Path, encoder: Encoder) -> AnyPath:
    """Write a fitted encoder into the root, as the newest of its kind and settings."""
    parts.sweep(_folder(root, encoder))
    part = parts.new_part(_folder(root, encoder), ".npz")
    with part as path:
        encoder.save(path)
    return part.committed


def _folder(root: str | Path, encoder: Encoder) -> AnyPath:
    return place(root) / "encoders" / encoder.label
