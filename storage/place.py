"""Paths of a root: a folder of this machine, or a URL of an object store (`s3://bucket/name`, or any other for which
fsspec has a driver).

    place("data")               → pathlib.Path("data")
    place("s3://bucket/corpus") → UPath("s3://bucket/corpus"), which joins and names like a Path

What is below a remote root is read and written by the functions of `parts` and `cache` only. Endpoint and credentials
are left to the driver (environment, profile, role of the machine): they never stand in a root.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from upath import UPath

AnyPath: TypeAlias = Union[Path, "UPath"]
"""A path of this machine, or of an object store. Only the former is a `pathlib.Path`."""


@runtime_checkable
class Rooted(Protocol):
    """What a `Root` is to the modules below it: something with a path and an address."""

    path: AnyPath
    address: str


AnyRoot: TypeAlias = str | AnyPath | Rooted
"""A root as callers may give it: text, a path, or a `Root`."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_WEB = ("http", "https", "ftp")


def is_url(root: str | AnyPath) -> bool:
    """Whether this is a URL of an object store, not a folder of this machine."""
    found = _URL.match(str(root))
    return found is not None and found[1].lower() != "file"


def place(root: AnyRoot) -> AnyPath:
    """The root as a path to join to. Raises InputError for a scheme without a driver, a URL that holds a secret, or a
    URL that was turned into a `Path` and so lost a slash."""
    if isinstance(root, Rooted):
        return root.path
    text = str(root)
    if not is_url(root):
        if isinstance(root, Path) and _COLLAPSED.match(text):
            raise InputError(f"root {text!r} was a URL before it was a Path; pass it as text")
        return Path(re.sub(r"^file://", "", text, flags=re.IGNORECASE))
    return _remote(root) if isinstance(root, str) else root


def address(root: AnyRoot) -> str:
    """The root as text that means the same in every process: an absolute path, or the URL."""
    here = place(root)
    return str(here.expanduser().resolve()) if isinstance(here, Path) else str(here)


def below(root: AnyRoot, uri: str) -> AnyPath:
    """The file that a `uri` of the tables names: relative to the root, or an absolute path of this machine."""
    return Path(uri) if Path(uri).is_absolute() else place(root) / uri


def _remote(text: str) -> "UPath":
    scheme, rest = _URL.match(text).groups()  # type: ignore[union-attr]
    scheme, bucket = scheme.lower(), rest.partition("/")[0]
    if "@" in bucket and scheme not in ("abfs", "abfss"):
        raise InputError(
            f"root {scheme}://…@{bucket.rpartition('@')[2]}/…: a URL may hold no key or password, since it is shown "
            "and stored; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        )
    if scheme in _WEB:
        raise InputError(f"root {text!r}: {scheme} addresses cannot be written to; give a folder or s3://bucket/name")
    if not bucket:
        raise InputError(f"root {text!r} names no bucket; give {scheme}://bucket/name")
    try:
        from upath import UPath  # here: processes that download or decode import this module, and need no URL

        from reelmill.storage.objects import filesystem

        path = UPath(f"{scheme}://{rest.rstrip('/')}", use_listings_cache=False)
        filesystem(path)
    except ImportError as error:
        install = "pip install 'reelmill[s3]'" if scheme == "s3" else "install it, and universal-pathlib"
        raise InputError(f"root {text!r}: there is no driver for {scheme!r} ({error}); {install}") from error
    except ValueError as error:
        known = "give a folder or s3://bucket/name, or install the driver of fsspec that it needs"
        raise InputError(f"root {text!r}: there is no driver for {scheme!r} ({error}); {known}") from error
    return path
