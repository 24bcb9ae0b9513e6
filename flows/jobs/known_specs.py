"""Which specs the settings' networks have, known from the last time that they were built.

The name of a feature store is a hash over everything that decides its numbers, the networks' weights included, and so
it takes their weights and torch to work it out. A run with nothing to do shall not wait for that: the specs are kept in
the cache's folder, under a key of everything that they follow from: settings, the files of weights, the program, the
packages, the processor and its GPUs.

They only serve to find that nothing is missing. Where something is, the networks are built and say what their specs
are, so what is remembered never decides what is written.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reelmill.extractors import registry
from reelmill.extractors.core.network_settings import NetworkSettings
from reelmill.extractors.weights.files import place
from reelmill.flows.settings.sections import Settings
from reelmill.storage import Root, Spec, cache, parts

PACKAGES = ("torch", "torchvision", "pytorchvideo", "numpy", "librosa", "av", "decord", "torchcodec")
"""Of which the version can change what a network computes, or is part of a spec."""
KEPT = 256
"""Files that are kept in the cache."""
ROOMS = Path(__file__).parents[2]
CODE = ("extractors", "pipeline", "storage")
"""Rooms that decide what a spec is."""


def recall(settings: Settings) -> list[list[Spec]] | None:
    """The specs of the layers of each extractor of frames or sound, or None if they are not known."""
    return _read(_file(settings, _windowed(settings)))


def remember(settings: Settings, specs: Sequence[Sequence[Spec]]) -> None:
    """Keep the specs for `recall`; nothing where the cache cannot be written."""
    _write(_file(settings, _windowed(settings)), specs)


def recall_text(settings: Settings, name: str) -> list[Spec] | None:
    """The specs of an extractor of text as it was last fitted on this root, or None if they are not known."""
    found = _read(_file(settings, [name], *_fits(settings, name)))
    return found[0] if found else None


def remember_text(settings: Settings, name: str, specs: Sequence[Spec]) -> None:
    """Keep the specs for `recall_text`; nothing where the cache cannot be written."""
    _write(_file(settings, [name], *_fits(settings, name)), [specs])


def _read(file: Path) -> list[list[Spec]] | None:
    try:
        return [[Spec(**spec) for spec in specs] for specs in json.loads(parts.read_file(file))]
    except (OSError, ValueError, TypeError):
        return None


def _write(file: Path, specs: Sequence[Sequence[Spec]]) -> None:
    content = json.dumps([[json.loads(spec.to_json()) for spec in of_one] for of_one in specs])
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        parts.write_file(file, content.encode())
        _prune(file.parent)


def _prune(folder: Path) -> None:
    """Keep the newest files: each change of the program or of the settings leaves one that is never read again."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files[KEPT:]:
        file.unlink(missing_ok=True)


def _windowed(settings: Settings) -> list[str]:
    return [name for name in settings.extract.extractors if not registry.reads_text(name)]


def _fits(settings: Settings, name: str) -> Iterator[Any]:
    """The fits of an extractor of text that a root keeps: another one has other specs."""
    root = Root(settings.root)
    yield root.address
    for folder in sorted(parts.folders(root.encoders)):
        if folder.rpartition("-")[0] == name:
            yield [str(path.name) for path in parts.list_parts(root.encoders / folder, ".npz")]


def _file(settings: Settings, names: Sequence[str], *more: Any) -> Path:
    known = json.dumps([*_follows_from(settings, names), more], sort_keys=True, default=str)
    return cache.folder() / "specs" / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.json"


def _follows_from(settings: Settings, names: Sequence[str]) -> Iterator[Any]:
    """Everything that the specs of these extractors follow from, as plain values."""
    chosen = settings.extract
    yield settings.segments.segment_ms, chosen.rows, chosen.decoder, chosen.pixels
    yield chosen.device, chosen.precision, chosen.compile
    for name in names:
        how = chosen.extractors[name]
        yield name, how.to_dict(), [_stamp(path) for path in _files_of(name, how)]
    for room in CODE:
        yield [_stamp(path) for path in sorted((ROOMS / room).rglob("*.py"))]
    yield [_version(package) for package in PACKAGES]
    yield platform.machine(), _processor(), sorted(map(str, Path("/dev").glob("nvidia*")))
    yield _text(Path("/proc/driver/nvidia/version")), os.environ.get("CUDA_VISIBLE_DEVICES")


def _files_of(name: str, how: Any) -> Iterator[Path]:
    """Files that an extractor reads: those that its settings name, and the published weights."""
    yield from how.files().values()
    if isinstance(how, NetworkSettings) and how.weights != "random":
        record, path = registry.find(name).find_weights(how.weights)
        file = path or place(record)
        yield file
        yield file.with_name(f"{file.name}.sha256")


def _stamp(path: Path) -> tuple[str, int, int] | tuple[str]:
    """Another content has another size or time."""
    try:
        found = path.stat()
    except OSError:
        return (str(path),)
    return str(path), found.st_size, found.st_mtime_ns


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """What the processor can do, on which `precision: auto` depends."""
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
