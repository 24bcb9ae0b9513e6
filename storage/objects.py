"""Requests to an object store, and what its errors mean. `parts` and `cache` are built on it.

A PUT is atomic: an object appears as a whole or not at all, also when it is uploaded in pieces. Listings are not
cached. Requests that fail for a moment are repeated by the driver (botocore's retries).
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelmill.storage.errors import Unreachable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from upath import UPath

PAGE = 1000
"""Most names in one answer of S3; a longer listing consists of several."""
INDEX_BLOCK = 1 << 18
"""Bytes per request when only the ends of a file are read."""

_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_REGION")
_open: dict[tuple[Any, ...], "AbstractFileSystem"] = {}


def filesystem(path: "UPath") -> "AbstractFileSystem":
    """The driver, one per process for all threads: a client costs half a second, and does not survive a fork."""
    import fsspec

    key = (path.protocol, os.getpid(), *(os.environ.get(name) for name in _SETTINGS))
    if key not in _open:
        _open[key] = fsspec.filesystem(path.protocol, use_listings_cache=False, skip_instance_cache=True)
    return _open[key]


def listed(folder: "UPath") -> dict[str, int]:
    """{name: bytes} of the objects directly in a folder; empty if there is none."""
    return {_name(e): int(e["size"] or 0) for e in _entries(folder) if e["type"] == "file" and _name(e)}


def folders(folder: "UPath") -> list[str]:
    """Names of the folders in a folder, sorted."""
    return sorted(_name(entry) for entry in _entries(folder) if entry["type"] == "directory")


def walked(folder: "UPath") -> dict[str, int]:
    """{path relative to the folder: bytes} of every object below a folder; empty if there is none."""
    with reachable(folder):
        found = filesystem(folder).find(folder.path, detail=True)
    cut = len(folder.path.rstrip("/")) + 1
    return {path[cut:]: int(facts["size"] or 0) for path, facts in found.items()}


def facts(path: "UPath") -> dict[str, Any] | None:
    """Properties of an object: `size`, `ETag` and what else the driver gives; None if there is no such object."""
    with contextlib.suppress(FileNotFoundError), reachable(path):
        found = filesystem(path).info(path.path)
        return found if found["type"] == "file" else None
    return None


def written_at(path: "UPath") -> float | None:
    """When an object was stored, in seconds since 1970; None if there is no such object."""
    found = facts(path) or {}
    at = next(
        (found[key] for key in ("LastModified", "last_modified", "updated", "mtime", "created") if key in found), None
    )
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return at.timestamp() if isinstance(at, datetime) else at


def get(path: "UPath", file: Path) -> None:
    """Download an object. Raises FileNotFoundError, or OSError if this machine has no space."""
    with reachable(path):
        filesystem(path).get_file(path.path, str(file))


def put(file: Path, path: "UPath") -> None:
    """Upload a file; the object appears when it is complete."""
    with reachable(path):
        filesystem(path).put_file(str(file), path.path)


def read(path: "UPath") -> bytes:
    """A small object's content. Raises FileNotFoundError."""
    with reachable(path):
        return filesystem(path).cat_file(path.path)


def write(path: "UPath", content: bytes) -> None:
    """Store a small object."""
    with reachable(path):
        filesystem(path).pipe_file(path.path, content)


def remove(path: "UPath") -> None:
    """Delete an object, if it exists."""
    with contextlib.suppress(FileNotFoundError), reachable(path):
        filesystem(path).rm_file(path.path)


def copy(path: "UPath", to: "UPath") -> None:
    """Copy an object within its store. Raises FileNotFoundError."""
    with reachable(path):
        filesystem(path).cp_file(path.path, to.path)


@contextlib.contextmanager
def ends(path: "UPath") -> Iterator[Any]:
    """An object as an open file that fetches only what is read, in blocks: for reading its ends."""
    how = {"block_size": INDEX_BLOCK, "cache_type": "blockcache"}
    with reachable(path), filesystem(path).open(path.path, "rb", **how) as file:
        yield file


@contextlib.contextmanager
def reachable(path: "UPath") -> Iterator[None]:
    """Turn errors that mean that a store cannot be used into Unreachable; FileNotFoundError of an object passes."""
    try:
        yield
    except Exception as error:
        if reason := _reason(error, path):
            raise Unreachable(f"{path}: {reason}") from error
        raise


def _reason(error: Exception, path: "UPath") -> str:
    """Why the store cannot be used; empty for other errors."""
    cause = error.__cause__ or error
    code = str(getattr(cause, "response", {}).get("Error", {}).get("Code", ""))
    bucket = path.path.partition("/")[0]
    if code == "NoSuchBucket":
        return f"bucket {bucket!r} does not exist; create it, or check the root and AWS_ENDPOINT_URL"
    if isinstance(error, FileNotFoundError):
        return ""
    if isinstance(error, PermissionError) and getattr(error, "filename", None) is None:
        return f"no permission ({error}); check AWS_ACCESS_KEY_ID or the profile, and the policy of bucket {bucket!r}"
    named = {kind.__module__.partition(".")[0] for kind in type(cause).__mro__}
    if type(cause).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return f"{error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if named & {"botocore", "aiobotocore", "aiohttp"} or isinstance(error, TimeoutError | ConnectionError):
        return f"no proper answer ({type(cause).__name__}: {error}); try again later, or check AWS_ENDPOINT_URL"
    return ""


def _entries(folder: "UPath") -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), reachable(folder):
        return filesystem(folder).ls(folder.path, detail=True)
    return []


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]
