"""Files of tensors and plain values, for the state of a training and for a fitted model. Reading one runs no code."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from reelmill.storage import cache
from reelmill.storage.arrays import check_zip
from reelmill.storage.errors import CorruptPart
from reelmill.storage.place import AnyPath


def to_bytes(state: dict[str, Any]) -> bytes:
    """The content of such a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read(path: AnyPath) -> dict[str, Any]:
    """What `to_bytes` wrote, on the CPU. Raises CorruptPart for anything else."""
    try:
        saved = cache.reading(path, _load)
        if not isinstance(saved, dict):
            raise ValueError(f"it holds {type(saved).__name__}")
        return saved
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors and plain values, reading it could run code"
        raise CorruptPart(f"{path} is refused: {reason}; remove it and fit again") from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise CorruptPart(f"{path} cannot be read ({error}); remove it and fit again") from error


def _load(file: Path) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            check_zip(archive)
    return torch.load(file, map_location="cpu", weights_only=True)
