"""Local copies of objects: complete, of today, bounded, shared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reelmill.storage import cache, objects, parts
from reelmill.storage.errors import InputError
from reelmill.storage.place import place
from tests.storage.test_parts_tables import commit


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were fetched as a whole."""
    names: list[str] = []
    get = objects.get

    def counted(path: object, file: Path) -> None:
        names.append(path.name)  # type: ignore[attr-defined]
        get(path, file)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "get", counted)
    return names


def forget() -> None:
    """Be another machine."""
    for path in (cache.folder() / "objects").iterdir():
        path.unlink()


def test_a_file_of_this_machine_is_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "x"
    path.write_text("x")
    assert (cache.local(path), cache.near([path, path])) == (path, [path, path])
    with cache.pinned(path) as file, cache.index_of(path) as index:
        assert file == index == path
    assert not (tmp_path / "cache").exists()


def test_a_part_is_fetched_once(s3_root: str, fetched: list[str]) -> None:
    part = commit(place(s3_root) / "x", "content")  # type: ignore[arg-type]
    assert cache.local(part).read_text() == "content"
    assert fetched == [], "what was written here is here"
    forget()
    assert [path.read_text() for path in cache.near([part, part])] == ["content"] * 2
    assert cache.local(part).read_text() == "content"
    assert set(fetched) == {part.name}
    before = len(fetched)
    parts.remove(part)
    with pytest.raises(FileNotFoundError):
        cache.local(part)
    assert len(fetched) == before


def test_a_file_that_changes_is_fetched_again(s3_root: str, fetched: list[str]) -> None:
    path = place(s3_root) / "report.html"
    for text in ("one", "two"):
        parts.write_file(path, text.encode())
        assert cache.local(path).read_text() == cache.local(path).read_text() == text
    assert fetched == ["report.html"] * 2


def test_what_was_not_used_for_longest_goes(s3_root: str, fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_BYTES", "2500")
    first, second = (commit(place(s3_root) / "x", letter * 1000) for letter in "ab")  # type: ignore[arg-type]
    for age, part in ((300, first), (200, second)):
        os.utime(cache.local(part), (0, cache.local(part).stat().st_mtime - age))
    held = cache.local(first).open()  # used now
    commit(place(s3_root) / "x", "c" * 1000)  # type: ignore[arg-type]
    assert sum(path.stat().st_size for path in (cache.folder() / "objects").iterdir()) == 2000
    assert cache.local(first).read_text() == "a" * 1000
    assert fetched == []
    assert cache.local(second).read_text() == "b" * 1000
    assert fetched == [second.name]
    forget()
    assert held.read() == "a" * 1000, "who has it open reads on"
    held.close()
    monkeypatch.setenv("REELMILL_CACHE_BYTES", "much")
    with pytest.raises(InputError, match="whole number of bytes"):
        cache.local(second)


def test_a_copy_that_goes_before_it_is_opened_is_fetched_again(s3_root: str, fetched: list[str]) -> None:
    part = commit(place(s3_root) / "x", "content")  # type: ignore[arg-type]
    turns = iter(range(3))

    def slow(file: Path) -> str:
        if next(turns) < 2:
            file.unlink()
        return file.read_text()

    assert cache.reading(part, slow) == "content"
    assert fetched == [part.name] * 2


def test_a_pinned_file_stays_under_its_own_name(s3_root: str) -> None:
    parts.write_file(place(s3_root) / "video.mp4", b"content")
    with cache.pinned(place(s3_root) / "video.mp4") as file:
        forget()
        assert (file.name, file.read_bytes()) == ("video.mp4", b"content")
    assert not file.exists()
    with pytest.raises(FileNotFoundError), cache.pinned(place(s3_root) / "other.mp4"):
        pass


def test_a_copy_of_another_length_is_refused(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.write_file(place(s3_root) / "video.mp4", b"content")
    monkeypatch.setattr(objects, "get", lambda path, file: file.write_bytes(b"cont"))
    with pytest.raises(objects.Unreachable, match="4 of 7 bytes arrived"):
        cache.local(place(s3_root) / "video.mp4")
    assert list(cache.workplace().iterdir()) == []


RACE = """
import sys
from reelmill.storage import cache
from reelmill.storage.place import place
for turn in range(6):
    for number in range(3):
        assert cache.reading(place(f"{sys.argv[1]}/{number}.bin"), lambda f: f.read_bytes()) == bytes([number]) * 3000
"""


def test_many_processes_share_a_cache_that_is_too_small(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_BYTES", "5000")
    for number in range(3):
        parts.write_file(place(s3_root) / f"{number}.bin", bytes([number]) * 3000)
    children = [subprocess.Popen([sys.executable, "-c", RACE, s3_root], stderr=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert (child.communicate(timeout=200)[1].decode(), child.returncode) == ("", 0)


def test_work_of_the_dead_is_swept(s3_root: str) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    mine = cache.workplace()
    dead = mine.with_name(f"{mine.name.rpartition('-')[0]}-{child}")
    (dead / "pin").mkdir(parents=True)
    (dead / "pin" / "video.mp4").touch()
    away = mine.with_name("other-host-1")
    away.mkdir()
    assert cache.sweep() == [dead]
    os.utime(away, (0, 0))
    assert cache.sweep() == [away]
    assert mine.is_dir()
