"""Base class of extractors of text, called encoders: they are fitted on a corpus, kept in the root, and loaded again.

    ROOT/encoders/topics-1f0c22ab/part-….npz    name and hash of the settings; files are immutable, the newest is used

When texts are added to the root, the kept encoder encodes them, so that the store keeps its spec. The hash of the
fitted encoder is part of the spec: another fit has another store.
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
from reelmill.storage import Root, Spec, cache, parts
from reelmill.storage.arrays import load_arrays
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.place import AnyPath, AnyRoot

Progress = Callable[[float], None]
"""Called with the share of a fit that is done."""


class Encoder(ABC):
    """An extractor of text: once fitted or loaded, it turns each document into a vector."""

    about: ClassVar[Descriptor]
    rows: ClassVar[Literal["video", "post"]]
    """What a document, and so a row of the store, is."""
    not_learned: ClassVar[frozenset[str]] = frozenset({"layers", "refit"})
    """Settings that do not change what is learned, or that `identity` has in another form."""
    code_version: ClassVar[int] = 1
    """Increased when a change of the code changes the numbers."""
    layers: tuple[str, ...]
    """Layers to store."""
    identity: dict[str, Any]
    """Settings that change what is learned, as plain JSON."""
    dim: int
    """Dimension of a vector."""
    fitted_on = ""
    """Hash of the texts that it was fitted on, if they are those of a root."""
    sha256 = ""
    """Hash of the fitted encoder; empty before the fit."""

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
        """Fit on these documents alone. The same documents, settings and seed give the same bits. Raises TooLittleText
        if there is nothing to learn from."""

    @abstractmethod
    def transform(self, documents: Sequence[Document]) -> np.ndarray:
        """(documents, dim) float32; NaN for a document without a known word."""

    def encode(self, documents: Sequence[Document]) -> dict[str, np.ndarray]:
        """{layer: (documents, dim)} of every layer."""
        return {self.about.default_layers[0]: self.transform(documents)}

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What was learned, as plain JSON values and arrays."""

    @abstractmethod
    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Inverse of `state`."""

    @property
    def label(self) -> str:
        """Name of its folder in the root, `topics-1f0c22ab`: the same for every fit with these settings."""
        text = json.dumps(self.identity, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def specs(self) -> dict[str, Spec]:
        """{layer: its spec} of the layers to store, once fitted."""
        return {
            layer: Spec(
                self.name, layer, self.dim, self.rows, preprocessing=self.identity, weights=self.label,
                weights_sha256=self.sha256, code_version=self.code_version,
            )
            for layer in self.layers
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the fitted encoder to a file: a zip of plain arrays, no pickle."""
        facts, arrays = self._content()
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        self.sha256 = _digest(facts, arrays)

    def read(self, path: Path) -> None:
        """Load a file of `save` into this encoder, which has the same settings. Raises CorruptPart for another file."""
        with _corrupt_if_unreadable(path, self.name):
            self._load_state(*_parse(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The encoder, with its settings, from a file of `save`. Raises CorruptPart for another file."""
        with _corrupt_if_unreadable(path, cls.about.name):
            facts, arrays = _parse(path)
            names = {field.name for field in fields(cls.about.settings)} - cls.not_learned
            loaded = cls(cls.about.settings(**{name: facts["identity"][name] for name in names}))
            if {**facts["identity"], **loaded.identity}.keys() != loaded.identity.keys():
                raise ValueError("fitted by another version")
            loaded.identity |= {name: facts["identity"][name] for name in cls.not_learned & loaded.identity.keys()}
            loaded._load_state(facts, arrays)
        return loaded

    def _load_state(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if facts["identity"] != self.identity:
            raise ValueError(f"fitted as {facts['identity']}")
        self.restore(facts["learned"], arrays)
        self.fitted_on, self.sha256 = str(facts["fitted_on"]), _digest(facts, arrays)

    def _content(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        learned, arrays = self.state()
        return {"identity": self.identity, "fitted_on": self.fitted_on, "learned": learned}, arrays


def _digest(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of the arrays; the bytes of a zip differ between libraries."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _parse(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = load_arrays(path)
    return json.loads(arrays.pop("facts").tobytes()), arrays


@contextlib.contextmanager
def _corrupt_if_unreadable(path: Path, name: str) -> Iterator[None]:
    """Raise CorruptPart for any error that reading a damaged or foreign file causes."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, EOFError, InputError, zipfile.BadZipFile) as error:
        raise CorruptPart(f"{path} is not a fitted {name} ({error}); move it away and run again") from error


def find(root: AnyRoot, encoder: Encoder) -> bool:
    """Load the newest encoder with the same settings from the root into this one; False if there is none."""
    kept = parts.list_parts(_folder(root, encoder), ".npz")
    if kept:
        cache.reading(kept[-1], encoder.read)
    return bool(kept)


def keep(root: AnyRoot, encoder: Encoder) -> AnyPath:
    """Write a fitted encoder to the root, as the newest one with its settings; returns the path."""
    parts.sweep(_folder(root, encoder))
    part = parts.new_part(_folder(root, encoder), ".npz")
    with part as path:
        encoder.save(path)
    return part.committed


def _folder(root: AnyRoot, encoder: Encoder) -> AnyPath:
    return Root(root).encoders / encoder.label
