"""What the tests of faults share: the nursery, a quick disk, a small disk, and what an unbroken run makes."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.extract.missing import Video
from reelmill.pipeline.process.child import Child
from tests.faults.work import corpus, network, plant, run


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

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", path]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("a disk of its own needs the right to mount one (root)")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
