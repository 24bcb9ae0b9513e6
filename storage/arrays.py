"""Arrays from `.npy` and `.npz` files, read safely: no pickle, no shape larger than the file, no zip bomb.

`np.load` allocates whatever shape a header of a few bytes claims, and unpacks a zip of any size.
"""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

MOST_UNPACKED = 1 << 30
RATIO = 100
"""A zip may unpack to `MOST_UNPACKED` bytes, or to `RATIO` times its own size if that is more. Features compress to a
half, zeros to a thousandth."""


def load_array(path: Path) -> np.ndarray:
    """The array of an `.npy`. Raises OSError, ValueError."""
    with path.open("rb") as file:
        return _read(file, path.stat().st_size)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an `.npz`, by name. Raises OSError, ValueError, EOFError, zipfile.BadZipFile."""
    with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
        check_zip(archive)
        found = {}
        for entry in archive.infolist():
            with archive.open(entry) as file:
                found[entry.filename.removesuffix(".npy")] = _read(file, entry.file_size)
        return found


def check_zip(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a zip that unpacks to far more than its own size."""
    unpacked = sum(entry.file_size for entry in archive.infolist())
    packed = sum(entry.compress_size for entry in archive.infolist())
    if unpacked > max(MOST_UNPACKED, RATIO * packed):
        raise ValueError(f"it unpacks to {unpacked:,} bytes from {packed:,}")


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """One array, from a file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not supported")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code when they are read")
    if (bytes_said := math.prod(shape) * dtype.itemsize) > size:
        raise ValueError(f"its header claims {bytes_said:,} bytes, the file has {size:,}")
    content = file.read(bytes_said)
    if len(content) < bytes_said:
        raise EOFError(f"it ends after {len(content):,} of {bytes_said:,} bytes")
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order="F" if by_columns else "C")
