"""Local copies of files on an object store, so that they can be mapped into memory, decoded and read twice.

    <cache>/objects/<hash>.h5       a copy; complete, since it is renamed into place last, and never changed
    <cache>/work/<host>-<pid>/      files that a process is fetching, filling before an upload, or reading

`<cache>` is `$REELMILL_CACHE`, or `reelmill` in the user's cache folder. Parts never change, so their copies are valid
for ever; for any other file the store is asked each time whether the copy is still current (ETag, size). When the
copies take more than `$REELMILL_CACHE_BYTES` (50 GiB) together, the least recently used are removed. Any number of
processes may share the cache. A copy that is removed while a process has it open or mapped stays readable there.

Copies are of whole files: features are read at random and again in each epoch, tables and media as a whole. To read the
index of a shard, only the ends of the file are fetched (`index_of`). Fetching single vectors by range would help only a
process that takes few rows of a large store once, such as recommendations for one user; that is rare here.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reelmill.storage import objects
from reelmill.storage.disk import NAME, STALE_SECONDS, alive, named, sync
from reelmill.storage.errors import InputError, Unreachable
from reelmill.storage.place import AnyPath

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
FETCHERS = 8
"""Concurrent requests for many small files."""


def folder() -> Path:
    """The cache's folder."""
    chosen = os.environ.get("REELMILL_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen).expanduser().absolute() if chosen else Path(home, "reelmill")


def limit_bytes() -> int:
    """Most bytes that the copies may take. Raises InputError."""
    text = os.environ.get("REELMILL_CACHE_BYTES") or str(50 << 30)
    if not text.isdigit():
        raise InputError(f"REELMILL_CACHE_BYTES {text!r}: give a whole number of bytes, such as {50 << 30}")
    return int(text)


def local(path: AnyPath) -> Path:
    """A file of this machine with the content of `path`: itself, or a copy, which is fetched if there is none or it is
    outdated. The copy may be evicted before it is opened: see `reading` and `pinned`. Raises FileNotFoundError."""
    if isinstance(path, Path):
        return path
    while (copy := _copy(path)) is not None:
        try:
            os.utime(copy)  # used now
        except FileNotFoundError:
            _fetch(path, copy)
            if _copy(path) != copy:  # the object was replaced meanwhile
                copy.unlink(missing_ok=True)
                continue
        return copy
    raise FileNotFoundError(errno.ENOENT, "not on the object store", str(path))


def near(paths: Sequence[AnyPath]) -> list[Path]:
    """`local` for many small files, several at a time."""
    if all(isinstance(path, Path) for path in paths) or len(paths) < 2:
        return [local(path) for path in paths]
    with ThreadPoolExecutor(FETCHERS) as pool:
        return list(pool.map(local, paths))


def reading(path: AnyPath, how: Callable[[Path], T]) -> T:
    """`how(local(path))`, repeated if another process evicted the copy before it was opened."""
    while True:
        file = local(path)
        try:
            with named(path):
                return how(file)
        except FileNotFoundError:
            if isinstance(path, Path) or file.exists():
                raise


@contextlib.contextmanager
def pinned(path: AnyPath) -> Iterator[Path]:
    """A local file, under its own name, that stays until the context is left: for another process to read."""
    if isinstance(path, Path):
        yield path
        return
    held = workplace() / uuid.uuid4().hex[:8]
    held.mkdir()
    try:
        reading(path, lambda file: os.link(file, held / path.name))
        yield held / path.name
    finally:
        shutil.rmtree(held, ignore_errors=True)


@contextlib.contextmanager
def index_of(part: AnyPath) -> Iterator[Any]:
    """A part of which little is read: a path if there is a local file, else an open file that fetches what is read."""
    if isinstance(part, Path):
        yield part
    elif (copy := _copy(part)) is not None and copy.exists():
        yield copy
    else:
        with objects.ends(part) as file:
            yield file


def deliver(file: Path, path: AnyPath) -> None:
    """Upload a local file to an object store and move it into the cache, as the copy of what was uploaded."""
    if isinstance(path, Path):
        raise TypeError(f"{path} is a local path; rename {file} to it")
    objects.put(file, path)
    if (copy := _copy(path)) is not None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        sync(file)
        file.replace(copy)
        evict(copy)


def drop(path: AnyPath) -> None:
    """Remove the copy, so that the next reader sees what the store holds."""
    if not isinstance(path, Path) and (copy := _copy(path)) is not None:
        copy.unlink(missing_ok=True)


def workplace() -> Path:
    """This process's own folder for temporary files. The folders of dead processes are removed when it is made."""
    mine = folder() / "work" / f"{socket.gethostname()}-{os.getpid()}"
    if not mine.is_dir():
        mine.mkdir(parents=True, exist_ok=True)
        sweep()
    return mine


def sweep() -> list[Path]:
    """Remove the temporary folders of dead processes; return them."""
    swept = []
    for path in (folder() / "work").glob("*-*"):
        host, _, pid = path.name.rpartition("-")
        with contextlib.suppress(FileNotFoundError):
            dead = host == socket.gethostname() and pid.isdigit() and not alive(int(pid))
            if dead or (host != socket.gethostname() and time.time() - path.stat().st_mtime > STALE_SECONDS):
                shutil.rmtree(path, ignore_errors=True)
                swept.append(path)
    return swept


def evict(keep: Path) -> None:
    """Remove the least recently used copies, but never `keep`, until the rest fits the limit."""
    entries = []
    with os.scandir(keep.parent) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError):
                entries.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
    total, limit = sum(size for _, size, _ in entries), limit_bytes()
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        if path != str(keep):
            Path(path).unlink(missing_ok=True)
            total -= size


def _copy(path: "UPath") -> Path | None:
    """Path of the copy of this object as it is now, whether it was fetched or not; None if there is no such object."""
    version = ""
    if not NAME.fullmatch(path.name):
        if (facts := objects.facts(path)) is None:
            return None
        told = (
            [facts.get(k) for k in ("ETag", "etag")]
            if facts.get("ETag") or facts.get("etag")
            else [facts.get(k) for k in ("LastModified", "last_modified", "mtime", "created")]
        )
        version = "\0".join(map(str, [facts["size"], *told]))
    name = hashlib.sha256(f"{path}\0{version}".encode()).hexdigest()[:32]
    return folder() / "objects" / f"{name}{path.suffix}"


def _fetch(path: "UPath", copy: Path) -> None:
    facts = objects.facts(path)
    if facts is None:
        raise FileNotFoundError(errno.ENOENT, "not on the object store", str(path))
    copy.parent.mkdir(parents=True, exist_ok=True)
    draft = workplace() / f"{uuid.uuid4().hex[:8]}{path.suffix}"
    try:
        objects.get(path, draft)
        if draft.stat().st_size != facts["size"]:
            raise Unreachable(f"{path}: {draft.stat().st_size} of {facts['size']} bytes arrived; try again")
        sync(draft)
        draft.replace(copy)
    finally:
        draft.unlink(missing_ok=True)
    evict(copy)
