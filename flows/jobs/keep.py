"""What keeps a root in order: verify, compact, export. Plain functions; each returns its figures."""

from typing import Any

from reelmill.pipeline import verify as verifying
from reelmill.storage import Outcomes, Tables, parts, verify
from reelmill.storage import compact as packing
from reelmill.storage import export as exporting
from reelmill.storage.errors import CorruptPart, InputError, nearest
from reelmill.storage.features import SUFFIX, Format, features_folder, list_stores, open_store, present
from reelmill.storage.formats import read_shard
from reelmill.storage.schema import SCHEMAS

EVERY = {"stores": verify.stores, "tables": verify.tables, "encoders": verify.encoders}
"""Kinds of parts, and what reads them all."""
MOST = 3
"""Examples of one kind."""
REPAIR = {
    "media": "reelmill ingest SETTINGS", "videos": "reelmill ingest SETTINGS", "users": "reelmill ingest SETTINGS",
    "events": "reelmill ingest SETTINGS", "rejects": "reelmill ingest SETTINGS",
    "segments": "reelmill ingest SETTINGS", "labels": "reelmill ingest SETTINGS",
}  # fmt: skip
"""What makes the rows of a lost part again. Key frames come with their features; logs do not come back."""


def check(root: str, *, media: bool = False, quarantine: bool = False, dry: bool = False) -> dict[str, Any]:
    """Read every part of every store, table and encoder, with `media` every media file too, and say what is wrong.

    `quarantine`: move damaged parts to ROOT/quarantine, after which their videos are missing again; `dry`: only say
    which. The figures say what makes them again."""
    figures: dict[str, Any] = {kind: {} for kind in EVERY} | {"constant": {}, "lost": {}, "dry": dry}
    figures |= {"quarantined": [], "repair": []}
    found = [(kind, one) for kind, look in EVERY.items() for one in look(root)]
    for kind, one in found:
        figures[kind][one.name] = [message for _, message in one.wrong]
        if one.constant:
            figures["constant"][one.name] = {"rows": one.constant, "videos": one.constant_videos[:MOST]}
        if not one.wrong:
            continue
        for path, _ in one.wrong:
            if quarantine and parts.size(path) is not None:
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
    from reelmill.extractors.registry import EXTRACTORS, reads_text

    extractor = name.split("-")[0]  # an encoder's folder begins with its name, as its store does
    if extractor in EXTRACTORS and reads_text(extractor):
        return "reelmill extract SETTINGS"
    return f"reelmill backfill SETTINGS --extractor {extractor}"


def _done_without_block(root: str, store: verify.Found) -> set[str]:
    """Videos that were extracted into a store of which a part cannot even say what it held, and are in no other."""
    unreadable = {path for path, _ in store.wrong}
    try:
        done = {key for key, row in Outcomes(root).latest("extract", store.name).items() if row["status"] == "done"}
    except CorruptPart:
        return set()  # the log is damaged as well
    there: set[str] = set()
    folder = features_folder(root) / store.name
    for path in parts.list_parts(folder):
        if path not in unreadable:
            there |= set(read_shard(path).video_ids)
    return done - there


def compact(root: str, dry: bool = False) -> dict[str, Any]:
    """Merge small parts of every store and table, and drop what newer parts replaced."""
    figures: dict[str, Any] = {"stores": {}, "tables": {}, "dry": dry}
    for name in list_stores(root):
        done = packing.planned(root, name) if dry else packing.compact(root, name)
        figures["stores"][name] = {"before": done.parts_before, "after": done.parts_after, "dropped": done.dropped}
    tables = Tables(root)
    for name in SCHEMAS:
        before = len(parts.list_parts(tables.folder / name))
        if before:
            _, after = (before, tables.compacted(name)) if dry else tables.compact(name)
            figures["tables"][name] = {"before": before, "after": after, "dropped": 0}
    return figures


def export(root: str, name: str, to: str, format: Format, dry: bool = False) -> dict[str, Any]:
    """Copy a store into the same store under another root, in a format; what is there stays."""
    store = open_store(root, name)
    if format not in SUFFIX:
        raise InputError(f"--format {format!r}: {nearest(format, list(SUFFIX))}")
    there = present(to, store.spec) & set(store.keys())
    copied = len(store) - len(there) if dry else exporting.export(root, store.spec.name, to, format)
    return {"store": store.spec.name, "to": to, "format": format, "copied": copied, "there": len(there), "dry": dry}
