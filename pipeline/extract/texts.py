"""Texts → feature stores: a row for each video (title, tags, categories, description), or for each post of a user.

An encoder is fitted once on the texts of the root, stored there (`reelmill.extractors.text.fitted`), and used for later
texts as well. What is missing is asked of the stores: a block is made again if its text has changed since. A text
without a known word is a masked row, never zeros."""

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.extractors.text import fitted
from reelmill.extractors.text.fitted import Encoder, Progress
from reelmill.extractors.text.words import Document, TooLittleText
from reelmill.storage import Block, FeatureWriter, Outcome, Outcomes, Root, Spec, Tables
from reelmill.storage.blocks import NO_DATA, VALID
from reelmill.storage.place import AnyRoot
from reelmill.storage.shards import Format

FIT_ROWS = 200_000
"""Most texts that an encoder is fitted on, spread evenly: more change it little, and need more memory."""
CHUNK_ROWS = 8192
"""Texts that are encoded and committed at once."""


@dataclass(frozen=True)
class Text:
    """The input of one row: fields of raw text, and its time."""

    fields: tuple[str, ...]
    start_ms: int
    stop_ms: int


@dataclass(frozen=True)
class Unit:
    """The input of one block: a video, or a user with all posts in order of time."""

    key: str
    texts: tuple[Text, ...]

    @property
    def sha256(self) -> str:
        """Hash of everything that the block is made from."""
        said = [(text.fields, text.start_ms, text.stop_ms) for text in self.texts]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def documents(self) -> list[Document]:
        """Its texts, split into words."""
        return [Document.of(*text.fields, author=self.key, time_ms=text.start_ms) for text in self.texts]


@dataclass
class TextSummary:
    """What one encoder did. Counts are of videos, or of users with posts."""

    stores: list[str] = field(default_factory=list)
    done: int = 0
    skipped: int = 0
    """Present already, made from the same text."""
    rows: int = 0
    """Rows of those done."""
    without_text: int = 0
    """Rows of those done without a word that the encoder knows: masked."""
    undated: int = 0
    """Posts without a time: left out."""
    fitted: bool = False
    """Whether the encoder was fitted in this run."""
    seconds: float = 0.0
    reason: str | None = None
    """Why nothing was written."""


def video_units(root: AnyRoot) -> tuple[list[Unit], int]:
    """Every video of the table `videos`, with one text: title, tags, categories, description; it spans the measured
    duration, else the claimed one, else 1 ms."""
    tables = Tables(root)
    media = tables.read("media", ["video_id", "duration_ms"])
    measured = dict(zip(media["video_id"].to_pylist(), media["duration_ms"].to_pylist(), strict=True))
    columns = ["video_id", "title", "tags", "categories", "description", "claimed_duration_ms"]
    units = []
    for row in tables.read("videos", columns).sort_by("video_id").to_pylist():
        lists = (" ".join(filter(None, row[name] or ())) for name in ("tags", "categories"))
        said = (row["title"] or "", *lists, row["description"] or "")
        duration = measured.get(row["video_id"]) or row["claimed_duration_ms"] or 1
        units.append(Unit(row["video_id"], (Text(said, 0, max(duration, 1)),)))
    return units, 0


def post_units(root: AnyRoot) -> tuple[list[Unit], int]:
    """Every user with posts that have a time, in order of time; and the number of posts without one."""
    events = Tables(root).read("events", ["user_id", "kind", "time", "text", "source", "source_row"])
    posts = events.filter(pc.equal(events["kind"], "post"))
    dated = posts.filter(pc.is_valid(posts["time"]))
    order = ["user_id", "time", "source", "source_row"]
    dated = dated.sort_by([(name, "ascending") for name in order])
    times = dated["time"].cast(pa.int64()).to_pylist()
    rows = zip(dated["user_id"].to_pylist(), dated["text"].to_pylist(), times, strict=True)
    units = [
        Unit(user, tuple(Text((text or "",), ms, ms + 1) for _, text, ms in of_user))
        for user, of_user in groupby(rows, key=lambda row: row[0])
    ]
    return units, len(posts) - len(dated)


UNITS: dict[str, Callable[[AnyRoot], tuple[list[Unit], int]]] = {"video": video_units, "post": post_units}


def ready(
    root: AnyRoot,
    encoder: Encoder,
    units: Sequence[Unit],
    *,
    refit: bool = False,
    progress: Progress = lambda share: None,
) -> bool:
    """Load the fitted state of the encoder from the root, or else fit it on these units and store that; return whether
    it was fitted. `refit`: fit again, unless the stored one was fitted on the same texts. Raises TooLittleText.
    """
    there = fitted.find(root, encoder)
    if there and not refit:
        return False
    chosen = units[:: max(1, -(-sum(len(unit.texts) for unit in units) // FIT_ROWS))]
    digest = hashlib.sha256(json.dumps([(unit.key, unit.sha256) for unit in chosen]).encode()).hexdigest()
    if there and encoder.fitted_on == digest:
        return False
    encoder.fit([document for unit in chosen for document in unit.documents], progress)
    encoder.fitted_on = digest
    fitted.keep(root, encoder)
    return True


def extract_texts(
    root: AnyRoot,
    encoder: Encoder,
    *,
    format: Format = "hdf5",
    refit: bool = False,
    progress: Progress = lambda share: None,
    on_units: Callable[[int, int], None] = lambda done, todo: None,
) -> TextSummary:
    """Fit the encoder if necessary, then write the missing blocks, one store per layer.

    `progress` is called with the share of the fit that is done, `on_units` with the number of videos or users that are
    written, and their total. Leaving early keeps every committed chunk. If there is too little text to fit on, nothing
    is written and the summary says why.
    """
    began = time.monotonic()
    units, undated = UNITS[encoder.rows](root)
    summary = TextSummary(undated=undated)
    try:
        summary.fitted = ready(root, encoder, units, refit=refit, progress=progress)
    except TooLittleText as error:
        summary.reason, summary.seconds = str(error), time.monotonic() - began
        return summary
    specs = list(encoder.specs().values())
    summary.stores = [spec.name for spec in specs]
    hashes = {unit.key: unit.sha256 for unit in units}
    lacking = {spec.name: hashes.keys() - _present(root, spec, hashes) for spec in specs}
    todo = [unit for unit in units if any(unit.key in keys for keys in lacking.values())]
    summary.skipped = len(units) - len(todo)
    writers = {spec.name: FeatureWriter(root, spec, format, 1 << 62, 1 << 62) for spec in specs}
    for chunk in _chunks(todo):
        _encode(root, encoder, chunk, hashes, lacking, writers, summary)
        on_units(summary.done, len(todo))
    summary.seconds = time.monotonic() - began
    return summary


def complete(root: AnyRoot, specs: Sequence[Spec]) -> TextSummary | None:
    """The summary of an encoder's specs if no text is missing under them; None if any is, or there is no spec."""
    if not specs:
        return None
    units, undated = UNITS["post" if specs[0].rows == "post" else "video"](root)
    hashes = {unit.key: unit.sha256 for unit in units}
    if any(hashes.keys() - _present(root, spec, hashes) for spec in specs):
        return None
    return TextSummary(stores=[spec.name for spec in specs], skipped=len(units), undated=undated)


def _present(root: AnyRoot, spec: Spec, hashes: dict[str, str]) -> set[str]:
    """Keys with a block that was made from the text as it is now."""
    known = Root(root).features.of(spec).provenance(hashes)
    return {key for key, came in known.items() if came.get("text_sha256") == hashes[key]}


def _chunks(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Units in chunks of about `CHUNK_ROWS` rows."""
    chunk: list[Unit] = []
    rows = 0
    for unit in units:
        chunk.append(unit)
        rows += len(unit.texts)
        if rows >= CHUNK_ROWS:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def _encode(
    root: AnyRoot, encoder: Encoder, chunk: Sequence[Unit], hashes: dict[str, str], lacking: dict[str, set[str]],
    writers: dict[str, FeatureWriter], summary: TextSummary,
) -> None:  # fmt: skip
    """Write the blocks of a chunk, then their outcomes."""
    began = time.monotonic()
    came = {"encoder": encoder.label, "reelmill": version("reelmill"), "host": socket.gethostname(),
            "extracted_at": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    layers = encoder.encode([document for unit in chunk for document in unit.documents])
    edges = np.cumsum([0, *(len(unit.texts) for unit in chunk)])
    told: list[tuple[str, str, str]] = []
    for name, writer in writers.items():
        vectors = layers[writer.spec.layer]
        masks = np.where(np.isnan(vectors).any(1), NO_DATA, VALID).astype(np.uint8)
        for unit, start, stop in zip(chunk, edges[:-1], edges[1:], strict=True):
            if unit.key in lacking[name]:
                times = np.array([(text.start_ms, text.stop_ms) for text in unit.texts], np.int64)
                mask, index = masks[start:stop], np.arange(stop - start, dtype=np.int32)
                provenance = {"text_sha256": hashes[unit.key], **came}
                writer.add(Block(unit.key, vectors[start:stop], mask, index, times[:, 0], times[:, 1], provenance))
                told.append((unit.key, name, f"{int((mask == NO_DATA).sum())} of {len(mask)} rows without a word"))
        writer.seal()
    each = (time.monotonic() - began) / max(len(told), 1)
    Outcomes(root).write(
        Outcome("extract", key, "done", spec=name, message=message, seconds=each) for key, name, message in told
    )
    summary.done += len(chunk)
    summary.rows += int(edges[-1])
    summary.without_text += int((masks == NO_DATA).sum())
