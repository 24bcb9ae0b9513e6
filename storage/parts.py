"""Folders of immutable part files: a part is visible when it is complete, and nothing else is.

A writer fills `.part-….tmp-<host>-<pid>` in the same folder, fsyncs it, renames it to
`part-<sequence>-<random>.<suffix>` and fsyncs the folder; on an object store it fills a file of this machine and stores
that by a single PUT. A reader lists `part-*` and needs no lock and no server. The sequence is microseconds since 1970,
or one more than the newest part's if the clock was set back, so parts sort by name from the oldest to the newest.

All other files below a root are read, written, moved and removed by the functions here too, on disk and elsewhere.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from reelmill.storage.disk import NAME, STALE_SECONDS, alive, make_folder, named, sync
from reelmill.storage.place import AnyPath
from reelmill.storage.shield import shielded

P = TypeVar("P", bound=AnyPath)


def list_parts(folder: AnyPath, suffix: str | tuple[str, ...] = "") -> list[AnyPath]:
    """Complete parts of a folder that end in `suffix`, or in one of several, oldest first; none if there is no folder.
    Other files are skipped, see `strays`."""
    return [folder / name for name in sorted(_names(folder)) if NAME.fullmatch(name) and name.endswith(suffix)]


def strays(folder: AnyPath, suffix: str | tuple[str, ...]) -> list[str]:
    """Names of files in a folder of such parts that no reader takes, such as a copy `part-….h5.bak`, sorted. Temporary
    files of writers are none."""
    return [n for n in files(folder) if not (NAME.fullmatch(n) and n.endswith(suffix)) and ".tmp-" not in n]


def sequence(part: AnyPath) -> int:
    """Age of a part: a higher number is newer."""
    return int(part.name.split("-")[1])


class new_part:
    """Context manager that gives a temporary local path to fill. On a clean exit the file becomes the newest part, with
    the path `committed`; on an error it is removed. Signals that ask the process to end do not interrupt the commit;
    what must not be interrupted while it is filled is `shielded` by whoever fills it."""

    committed: AnyPath

    def __init__(self, folder: AnyPath, suffix: str, number: int = 0) -> None:
        """`number`: the sequence to use instead of a new one, for a part that replaces older ones."""
        self.folder, self.suffix, self.number = folder, suffix, number
        self.tag = uuid.uuid4().hex[:8]
        self.temporary = _temporary(folder, self.tag)

    def __enter__(self) -> Path:
        self._filling = self._filled()
        return self._filling.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._filling.__exit__(kind, error, trace)

    def discard(self) -> None:
        """End without a part, although there was no error."""
        self._filling.gen.close()

    @contextlib.contextmanager
    def _filled(self) -> Iterator[Path]:
        try:
            with named(self.folder):
                if isinstance(self.folder, Path):
                    make_folder(self.folder)
                yield self.temporary
                with shielded():
                    if isinstance(self.folder, Path):
                        sync(self.temporary)
                    number = self.number or max(time.time_ns() // 1000, newest(self.folder) + 1)
                    self.committed = self.folder / f"part-{number:016d}-{self.tag}{self.suffix}"
                    _commit(self.temporary, self.committed)
        finally:
            self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Context manager that gives a temporary path to fill, beside `path` if that is local. On a clean exit the file
    replaces `path`, which has its old or its new content at any moment; on an error it is removed."""
    if isinstance(path, Path):
        make_folder(path.parent)
    temporary = _temporary(path.parent, uuid.uuid4().hex[:8])
    try:
        with named(path):
            yield temporary
            if isinstance(path, Path):
                sync(temporary)
            _commit(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: P, content: bytes) -> P:
    """Replace a small file as a whole; return its path."""
    if isinstance(path, Path):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    else:
        from reelmill.storage import objects

        objects.write(path, content)
    return path


def read_file(path: AnyPath) -> bytes:
    """A small file as a whole, as it is now. Raises FileNotFoundError."""
    if isinstance(path, Path):
        with named(path):
            return path.read_bytes()
    from reelmill.storage import objects

    return objects.read(path)


def size(path: AnyPath) -> int | None:
    """Size of a file in bytes; None if there is no such file, or it cannot be accessed."""
    if isinstance(path, Path):
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError:  # such as a name that is too long
            return None
    from reelmill.storage import objects

    facts = objects.facts(path)
    return None if facts is None else int(facts["size"])


def written_at(path: AnyPath) -> float | None:
    """When a file was written, in seconds since 1970; None if there is no such file."""
    if isinstance(path, Path):
        return path.stat().st_mtime if path.is_file() else None
    from reelmill.storage import objects

    return objects.written_at(path)


def files(folder: AnyPath) -> dict[str, int]:
    """{name: bytes} of the files directly in a folder, sorted by name; empty if there is no such folder."""
    if isinstance(folder, Path):
        found = {p.name: p.stat().st_size for p in folder.iterdir() if p.is_file()} if folder.is_dir() else {}
    else:
        from reelmill.storage import objects

        found = objects.listed(folder)
    return dict(sorted(found.items()))


def walk(folder: AnyPath) -> dict[str, int]:
    """{path relative to the folder: bytes} of every file below a folder, sorted; empty if there is no such folder."""
    if isinstance(folder, Path):
        found = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    else:
        from reelmill.storage import objects

        found = objects.walked(folder)
    return dict(sorted(found.items()))


def folders(folder: AnyPath) -> list[str]:
    """Names of the folders directly in a folder, sorted; empty if there is no such folder."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    from reelmill.storage import objects

    return objects.folders(folder)


def is_folder(folder: AnyPath) -> bool:
    """Whether there is such a folder; on an object store, whether it holds anything."""
    return folder.is_dir() if isinstance(folder, Path) else bool(files(folder) or folders(folder))


def remove(path: AnyPath) -> None:
    """Remove a file, if it exists."""
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
    else:
        from reelmill.storage import cache, objects

        objects.remove(path)
        if NAME.fullmatch(path.name):
            cache.drop(path)


def move(path: AnyPath, to: AnyPath) -> AnyPath:
    """Move a file within its root, such as a shard into quarantine; return its new path. The folder is made. On an
    object store it is copied first and then removed, so that a crash in between leaves two. Raises
    FileNotFoundError."""
    if isinstance(path, Path) and isinstance(to, Path):
        make_folder(to.parent)
        path.replace(to)
        sync(to.parent)
        sync(path.parent)
    elif isinstance(path, Path) or isinstance(to, Path):
        raise TypeError(f"{path} and {to} are not on the same store")
    else:
        from reelmill.storage import objects

        objects.copy(path, to)
        remove(path)
    return to


def sweep(folder: AnyPath) -> list[Path]:
    """Remove temporary files whose writer has died; return them. For this machine its processes are looked at, not its
    clock, which may jump; for others the age of the file. Those for an object store are in the cache."""
    if not isinstance(folder, Path):
        from reelmill.storage import cache

        return cache.sweep()
    swept = []
    for path in folder.glob(".part-*.tmp-*"):
        host, _, pid = path.name.split(".tmp-", 1)[1].rpartition("-")
        try:
            if host == socket.gethostname() and pid.isdigit():
                dead = not alive(int(pid))
            else:
                dead = time.time() - path.stat().st_mtime > STALE_SECONDS
            if dead:
                path.unlink()
                swept.append(path)
        except FileNotFoundError:
            continue  # its writer has finished, or another process removed it
    return swept


def _names(folder: AnyPath) -> list[str]:
    """Names of the files `part-*` at one moment: if the folder changed while it is listed, both a merged part and the
    parts that it replaces could be missed."""
    if not isinstance(folder, Path):
        return _listed(folder)
    names: list[str] = []
    for _ in range(100):  # a folder with many writers may never be still
        try:
            before = folder.stat().st_mtime_ns
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if e.name.startswith("part-") and e.is_file()]
            if folder.stat().st_mtime_ns == before:
                break
        except (FileNotFoundError, NotADirectoryError):
            return []
    return names


def _listed(folder: AnyPath) -> list[str]:
    """The same for an object store. One page is consistent; several pages are if the next listing is equal."""
    from reelmill.storage.objects import PAGE

    names: list[str] = []
    for _ in range(100):
        before, names = names, [name for name in files(folder) if name.startswith("part-")]
        if len(names) < PAGE or names == before:
            break
    return names


def newest(folder: AnyPath) -> int:
    """Sequence of the newest part; 0 if there is none."""
    matches = (NAME.fullmatch(name) for name in _names(folder))
    return max((int(match[1]) for match in matches if match), default=0)


def _commit(temporary: Path, path: AnyPath) -> None:
    """Let a complete file appear under its name, replacing what was there."""
    if isinstance(path, Path):
        temporary.replace(path)
        sync(path.parent)
    else:
        from reelmill.storage import cache, objects

        if NAME.fullmatch(path.name):
            cache.deliver(temporary, path)
        else:
            objects.put(temporary, path)


def _temporary(folder: AnyPath, tag: str) -> Path:
    """A temporary path that `sweep` recognises; for an object store in the cache."""
    if isinstance(folder, Path):
        return folder / f".part-{tag}.tmp-{socket.gethostname()}-{os.getpid()}"
    from reelmill.storage import cache

    return cache.workplace() / tag
