"""What keeps a root in order: verify, compact, export. Plain functions; each returns its figures."""

from dataclasses import dataclass, field

from reelmill.flows.jobs.results import OPTIONAL
from reelmill.pipeline import verify as verifying
from reelmill.storage import Outcomes, Tables, parts, verify
from reelmill.storage import compact as packing
from reelmill.storage import export as exporting
from reelmill.storage.errors import CorruptPart, InputError, nearest
from reelmill.storage.features import SUFFIX, Format, features_folder, list_stores, open_store, present
from reelmill.storage.formats import read_shard
from reelmill.storage.schema import SCHEMAS
from reelmill.storage.shards import SUFFIXES

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


@dataclass(frozen=True)
class Constant:
    """Rows that hold one number throughout."""

    rows: int
    videos: list[str]
    """A few of theirs."""


@dataclass
class VerifyResult:
    """What is damaged."""

    stores: dict[str, list[str]] = field(default_factory=dict)
    """{name: messages}, empty where all is sound; as `tables` and `encoders`."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    encoders: dict[str, list[str]] = field(default_factory=dict)
    constant: dict[str, Constant] = field(default_factory=dict)
    """By store."""
    lost: dict[str, list[str]] = field(default_factory=dict)
    """Videos that are missing without the damaged parts, by store."""
    dry: bool = False
    quarantined: list[str] = field(default_factory=list)
    """Parts that were moved, or would be."""
    repair: list[str] = field(default_factory=list)
    """Commands that make the lost rows again."""
    media: dict[str, str] | None = field(default=None, metadata=OPTIONAL)
    """{video: message}, if media were read."""
    damaged: int = 0
    strays: dict[str, list[str]] = field(default_factory=dict)
    """{name: files in its folder that are no parts}; readers skip them."""


def check(root: str, *, media: bool = False, quarantine: bool = False, dry: bool = False) -> VerifyResult:
    """Read every part of every store, table and encoder, with `media` every media file too, and say what is wrong.

    `quarantine`: move damaged parts to ROOT/quarantine, after which their videos are missing again; `dry`: only say
    which. The result says what makes them again."""
    result, repair = VerifyResult(dry=dry), []
    messages = {"stores": result.stores, "tables": result.tables, "encoders": result.encoders}
    for kind, look in EVERY.items():
        for one in look(root):
            messages[kind][one.name] = [message for _, message in one.wrong]
            if one.strays:
                result.strays[one.name] = one.strays
            if one.constant:
                result.constant[one.name] = Constant(one.constant, list(one.constant_videos[:MOST]))
            if not one.wrong:
                continue
            result.damaged += len(one.wrong)
            lost = one.lost | _done_without_block(root, one) if kind == "stores" else set()
            for path, _ in one.wrong:
                if quarantine and parts.size(path) is not None:
                    result.quarantined.append(str(path if dry else verify.quarantine(root, path)))
            if kind == "stores":
                result.lost[one.name] = sorted(lost)
            repair.append(_repair(kind, one.name))
    if media:
        result.media = verifying.media(root)
        result.damaged += len(result.media)
        repair += ["reelmill ingest SETTINGS"] if result.media else []
    result.repair = list(dict.fromkeys(filter(None, repair)))
    return result


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
    for path in parts.list_parts(folder, SUFFIXES):
        if path not in unreadable:
            there |= set(read_shard(path).video_ids)
    return done - there


@dataclass(frozen=True)
class Compacted:
    """Parts of a store or a table."""

    before: int
    after: int
    dropped: int
    """Blocks that newer ones had replaced."""


@dataclass(frozen=True)
class CompactResult:
    """What was merged, or would be."""

    stores: dict[str, Compacted]
    tables: dict[str, Compacted]
    dry: bool


def compact(root: str, dry: bool = False) -> CompactResult:
    """Merge small parts of every store and table, and drop what newer parts replaced."""
    result = CompactResult({}, {}, dry)
    for name in list_stores(root):
        done = packing.planned(root, name) if dry else packing.compact(root, name)
        result.stores[name] = Compacted(done.parts_before, done.parts_after, done.dropped)
    tables = Tables(root)
    for name in SCHEMAS:
        before = len(parts.list_parts(tables.folder / name))
        if before:
            _, after = (before, tables.compacted(name)) if dry else tables.compact(name)
            result.tables[name] = Compacted(before, after, 0)
    return result


@dataclass(frozen=True)
class ExportResult:
    """What was copied, or would be. Counts are of videos."""

    store: str
    to: str
    format: str
    copied: int
    there: int
    dry: bool


def export(root: str, name: str, to: str, format: Format, dry: bool = False) -> ExportResult:
    """Copy a store into the same store under another root, in a format; what is there stays."""
    store = open_store(root, name)
    if format not in SUFFIX:
        raise InputError(f"--format {format!r}: {nearest(format, list(SUFFIX))}")
    there = present(to, store.spec) & set(store.keys())
    copied = len(store) - len(there) if dry else exporting.export(root, store.spec.name, to, format)
    return ExportResult(store.spec.name, to, format, copied, len(there), dry)
