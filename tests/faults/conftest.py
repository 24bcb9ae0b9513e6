"""What the tests of faults share: the nursery, a quick disk, a small disk, and what an unbroken run makes."""

import ctypes
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.extract.missing import Video
from reelmill.pipeline.process.child import Child
from tests.faults.work import corpus, network, plant, run
from tests.optional import need

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2
"""linux/mount.h. The system is called directly: a machine may have no program `mount`."""


@pytest.fixture(scope="package")
def nursery() -> Iterator[Child]:
    """Forks workers."""
    with Child("tests.faults.nursery:work") as child:
        yield child


@pytest.fixture
def swift(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the system has one: there a sync costs nothing, and kills find more moments."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Unbroken:
    """A root that was made without a fault, and what it was made of."""

    root: str
    videos: list[Video]
    network: Extractor


@pytest.fixture(scope="package")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """Six videos through a thin network."""
    folder = tmp_path_factory.mktemp("unbroken")
    made = Unbroken(str(folder / "root"), corpus(folder / "files", 6), network())
    plant(made.root, made.videos)
    run(made.root, made.videos, made.network, 0)
    return made


@dataclass(frozen=True)
class Disk:
    """A disk of its own, which can be filled up."""

    path: Path

    def leave(self, size: int) -> None:
        """Fill it until so many bytes are free, in whole pages."""
        self.free()
        with (self.path / "ballast").open("wb") as file:
            file.write(bytes(shutil.disk_usage(self.path).free - size))

    def free(self) -> None:
        """Give the space back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def remount(self, read_only: bool) -> None:
        """Forbid or allow writing."""
        assert _mount(self.path, MS_REMOUNT | (MS_RDONLY if read_only else 0))


def _mount(path: Path, flags: int, options: str = "") -> bool:
    """Mount a file system in memory; False if that is not allowed."""
    return LIBC.mount(b"tmpfs", bytes(path), b"tmpfs", ctypes.c_ulong(flags), options.encode()) == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    need("mount", sys.platform == "linux" and _mount(path, 0, "size=8m"))
    try:
        yield Disk(path)
    finally:
        assert LIBC.umount2(bytes(path), MNT_DETACH) == 0
