"""Descriptor of an extractor: what is known of it without loading it. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from reelmill.extractors.core.network_settings import NetworkSettings
from reelmill.extractors.core.settings import ExtractorSettings
from reelmill.extractors.weights.checkpoints import Checkpoint, find
from reelmill.storage.errors import InputError, nearest

Input = Literal["frames", "sound", "text"]


@dataclass(frozen=True)
class Descriptor:
    """An extractor as the registry finds it: the constant `EXTRACTOR` of the extractor's module."""

    name: str
    """Name in settings and stores: `c3d`."""
    input: Input
    """What it reads. Extractors of text are fitted on the texts of a root; the others compute windows of one video."""
    layers: Mapping[str, int]
    """{layer: dimension}, with default settings."""
    default_layers: tuple[str, ...]
    """Layers that are stored if the settings name none."""
    settings: type[ExtractorSettings]
    """Its settings class."""
    implementation: str
    """`module:Class`, imported when it is built. The class takes (settings, compute) and is a `core.base.Extractor`
    or a `text.fitted.Encoder`."""
    paper: str
    """Its source."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """Published weights, the default first. A network without any has one record, without a file name, that describes
    a user's own file."""

    def settings_of(self, values: Mapping[str, Any]) -> ExtractorSettings:
        """Settings from plain values. Raises InputError."""
        settings = self.settings.of(self.name, values)
        self.chosen(settings.layers)
        return settings

    def chosen(self, layers: Sequence[str] | None) -> tuple[str, ...]:
        """The layers to store: those that are given, else the default. Raises InputError for an unknown one."""
        for layer in layers or ():
            if layer not in self.layers:
                raise InputError(f"layer {layer!r} of {self.name}: {nearest(layer, tuple(self.layers))}")
        return tuple(layers or self.default_layers)

    def find_weights(self, weights: str) -> tuple[Checkpoint, Path | None]:
        """The checkpoint that the setting `weights` means, and the file if it is a path. Raises InputError."""
        return find(self.checkpoints, weights, self.name)

    def check_files(self, settings: ExtractorSettings) -> None:
        """Raise InputError for a file that does not exist or an unknown checkpoint. Reads no file."""
        files = settings.files()
        if isinstance(settings, NetworkSettings) and (path := self.find_weights(settings.weights)[1]) is not None:
            files["weights"] = path
        for name, path in files.items():
            if not path.is_file():
                raise InputError(f"{name} {path} of {self.name}: no such file")

    def load(self) -> type[Any]:
        """The class that computes. Imports what that needs, such as torch."""
        module, _, name = self.implementation.partition(":")
        return getattr(import_module(module), name)
