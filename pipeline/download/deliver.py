"""Downloads into a root on an object store: the file is downloaded into the cache of this machine, and uploaded when it
is complete.

    <cache>/desk/<hash of the root>/    what `fetch` keeps in ROOT/media of a root on disk
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from reelmill.pipeline.download.stored import Fetched, Place
from reelmill.storage import cache, parts
from reelmill.storage.place import AnyPath


def desk(media: AnyPath) -> Path:
    """The folder to download into, on this machine."""
    return cache.folder() / "desk" / hashlib.sha256(str(media).encode()).hexdigest()[:16]


def delivered(where: Place, fetched: Fetched, media: AnyPath | None) -> Fetched:
    """Upload a complete file and its note, the file last; the local one becomes its copy in the cache. A note without
    its file, or with an older one, does no harm: the hash differs. Raises Unreachable; the file then stays here. Does
    nothing if `media`, the folder on an object store, is None."""
    if media is None:
        return fetched
    folder = media / where.key[:2]
    target = folder / fetched.path.name
    parts.write_file(folder / where.note.name, where.note.read_bytes())
    cache.deliver(fetched.path, target)
    where.note.unlink(missing_ok=True)
    return _named(fetched, cache.local(target), target)


def standing(where: Place, media: AnyPath | None) -> Fetched | None:
    """The file, if an earlier run completed it for the same address and format, here or on the object store."""
    if (found := where.standing()) is not None:
        return delivered(where, found, media)
    return None if media is None else _recalled(where, media)


def _recalled(where: Place, media: AnyPath) -> Fetched | None:
    folder = media / where.key[:2]
    try:
        note = json.loads(parts.read_file(folder / where.note.name))
        if note["asked"] != where.asked or parts.size(folder / note["file"]) != note["bytes"]:
            return None
        found = where.noted(note, cache.local(folder / note["file"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return None if found is None else _named(found, found.path, folder / note["file"])


def _named(fetched: Fetched, path: Path, target: AnyPath) -> Fetched:
    return replace(fetched, path=path, uri=f"media/{target.parent.name}/{target.name}")
