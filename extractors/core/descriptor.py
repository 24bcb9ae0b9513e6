"""What an extractor is, without loading it: its name, its input, its layers, its settings. No torch."""

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
    """An extractor as `registry` finds it: the constant `EXTRACTOR` of the extractor's module."""

    name: str
    """As settings and stores call it: `c3d`."""
    input: Input
    """What it reads. Those of text learn from the texts of a root, the others compute windows of one video."""
    layers: Mapping[str, int]
    """{layer: length of its vector}; of topics, with the default settings."""
    default_layers: tuple[str, ...]
    """Layers that are stored unless the settings name others."""
    settings: type[ExtractorSettings]
    """What a user can choose of it."""
    implementation: str
    """`module:Class`, imported when it is built: (settings, compute) → `base.Extractor` or `text.fitted.Encoder`."""
    paper: str
    """Where it is from."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """Its published weights, the default first; for a network without any, what a user's own file holds."""

    def settings_of(self, values: Mapping[str, Any]) -> ExtractorSettings:
        """Its settings from plain values. Raises InputError."""
        settings = self.settings.of(self.name, values)
        self.chosen(settings.layers)
        return settings

    def chosen(self, layers: Sequence[str] | None) -> tuple[str, ...]:
        """The layers to store, given those that the settings name. Raises InputError for an unknown one."""
        for layer in layers or ():
            if layer not in self.layers:
                raise InputError(f"layer {layer!r} of {self.name}: {nearest(layer, tuple(self.layers))}")
        return tuple(layers or self.default_layers)

    def find_weights(self, weights: str) -> tuple[Checkpoint, Path | None]:
        """The checkpoint that a user's `weights` means, and the file if it is a path. Raises InputError."""
        return find(self.checkpoints, weights, self.name)

    def check_files(self, settings: ExtractorSettings) -> None:
        """Raise InputError for a file that does not exist, or a checkpoint that is not known. Reads none."""
        files = settings.files()
        if isinstance(settings, NetworkSettings) and (path := self.find_weights(settings.weights)[1]) is not None:
            files["weights"] = path
        for name, path in files.items():
            if not path.is_file():
                raise InputError(f"{name} {path} of {self.name}: no such file")

    def load(self) -> type[Any]:
        """The class that computes. Imports whatever that needs, such as torch."""
        module, _, name = self.implementation.partition(":")
        return getattr(import_module(module), name)
