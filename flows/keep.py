"""What keeps a root in order: verify, retry, compact, export. Plain functions; each returns its figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows import steps
from flows.settings import Settings
from pipeline import verify as verifying
from pipeline.errors import BY_CLASS
from storage import Outcomes, Tables, parts, verify
from storage.errors import InputError, nearest

MOST = 3
"""Examples of one kind."""
REPAIR = {
    "media": "reelmill ingest SETTINGS", "videos": "reelmill ingest SETTINGS", "users": "reelmill ingest SETTINGS",
    "events": "reelmill ingest SETTINGS", "rejects": "reelmill ingest SETTINGS",
    "segments": "reelmill ingest SETTINGS", "labels": "reelmill ingest SETTINGS",
}  # fmt: skip
"""What makes the rows of a lost part again. Key frames come with their features; logs do not come back."""
STAGES = ("download", "extract")
"""Stages whose failures can be tried again."""


def check(root: str, *, media: bool = False, quarantine: bool = False, dry: bool = False) -> dict[str, Any]:
    """Read every part of every store and table, with `media` every media file too, and say what is wrong.

    `quarantine`: move damaged parts to ROOT/quarantine, after which their videos are missing again; `dry`: only say
    which. The figures say what makes them again."""
    figures: dict[str, Any] = {"stores": {}, "tables": {}, "constant": {}, "lost": {}, "quarantined": [], "repair": []}
    found = [("stores", one) for one in verify.stores(root)] + [("tables", one) for one in verify.tables(root)]
    for kind, one in found:
        figures[kind][one.name] = [message for _, message in one.wrong]
        if one.constant:
            figures["constant"][one.name] = {"rows": one.constant, "videos": one.constant_videos[:MOST]}
        if not one.wrong:
            continue
        for path, _ in one.wrong:
            if quarantine and path.is_file():
                figures["quarantined"].append(str(path if dry else verify.quarantine(root, path)))
        if kind == "stores":
            figures["lost"][one.name] = sorted(one.lost | _done_without_block(root, one))
        figures["repair"].append(_repair(kind, one.name))
    if media:
        figures["media"] = verifying.media(root)
        figures["repair"] += ["reelmill ingest SETTINGS"] if figures["media"] else []
    figures["repair"] = list(dict.fromkeys(filter(None, figures["repair"])))
    figures["damaged"] = sum(len(one.wrong) for _, one in found) + len(figures.get("media", ()))
    return figures


def _repair(kind: str, name: str) -> str | None:
    if kind == "tables":
        return REPAIR.get(name)
    from extractors.encoders import ENCODERS

    extractor = name.split("-")[0]
    return (
        "reelmill extract SETTINGS" if extractor in ENCODERS else f"reelmill backfill SETTINGS --extractor {extractor}"
    )


def _done_without_block(root: str, store: verify.Found) -> set[str]:
    """Videos that were extracted into a store of which a part cannot even say what it held, and are in no other."""
    unreadable = {path for path, _ in store.wrong}
    try:
        done = {key for key, row in Outcomes(root).latest("extract", store.name).items() if row["status"] == "done"}
    except verify.CorruptPart:
        return set()  # the log is damaged as well
    there: set[str] = set()
    folder = verify.features_folder(root) / store.name
    for path in parts.list_parts(folder) if folder.is_dir() else ():
        if path not in unreadable:
            there |= set(verify.read_shard(path).video_ids)
    return done - there
