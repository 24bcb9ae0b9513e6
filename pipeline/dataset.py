"""A published dataset, read as it was published: who liked what, and vectors of whole videos.

    what it is        file or folder                                        becomes
    MovieLens         ratings.dat, ratings.csv, X.inter, u.data (or .gz)    ratings, films, users
    PHD²              a CSV with a column youtubeId                         highlights, segments, labels
    interactions      interactions.parquet or .csv with user_id, item_id    watches (ratings, where there is a rating)

Interactions may have a column `split` (train, validation, test), which the settings `split: given` use, `time`, and
`rating`. Vectors are in files `<modality>_features.npy` (or .npz, .parquet; see `vectors`) beside the table, whose rows
or ids are item ids.

    read("root", "tiktok/")        # interactions.parquet, image_features.npy, audio_features.npy
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.pipeline import labels, sources
from reelmill.pipeline.sources import IngestCounts, SourceResult, text
from reelmill.pipeline.sources.bounds import check_rows
from reelmill.pipeline.vectors import SUFFIXES, write_vectors
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

Kind = Literal["movielens", "phd2", "interactions"]

TABLES = ("ratings*.dat", "ratings*.dat.gz", "ratings.csv", "*.inter", "u.data")
"""Names of MovieLens' ratings."""
MODALITIES = {"image": "picture", "visual": "picture", "audio": "sound", "acoustic": "sound", "textual": "text"}
"""Names of modalities in published datasets, and ours."""
NAMES = {"user_id": ("user_id", "user", "userId"), "video_id": ("item_id", "video_id", "item", "itemId")}
OPTIONAL = {"time": ("time", "timestamp"), "value": ("rating", "value")}


@dataclass(frozen=True)
class Dataset:
    """What was read from a dataset."""

    kind: Kind
    sources: list[IngestCounts]
    """One source, or one for each part of a published split."""
    stores: dict[str, str]
    """{modality: store of its vectors}."""
    labels: int
    """Labels of segments, from claimed durations."""
    notes: tuple[str, ...] = ()
    """Remarks about files beside the table, for the user."""


def read(root: AnyRoot, path: str | Path) -> Dataset:
    """Read a dataset into a root; what is there already is not written again. Raises InputError if its layout is none
    of those above, or a file is missing."""
    table = find(Path(path))
    kind = kind_of(table)
    if kind == "interactions":
        results = _interactions(table)
    else:
        results = [sources.read(table, kind)]
    counts = [sources.write_source(root, result) for result in results]
    made = labels.write_labels(root).labels if kind == "phd2" else 0
    notes = tuple(note for result in results for note in result.notes)
    return Dataset(kind, counts, _vectors(root, table.parent), made, notes)


def find(path: Path) -> Path:
    """The table of a dataset: the file itself, or the only one in a folder. Raises InputError if there is none, or more
    than one."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"data {path} is neither a file nor a folder; check the path")
    for patterns in (("interactions.parquet", "interactions.csv"), TABLES, ("*.csv",)):
        found = sorted({file for pattern in patterns for file in path.glob(pattern)})
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"data {path} holds {', '.join(file.name for file in found)}; give one of them")
    raise InputError(f"data {path} has none of interactions.parquet, interactions.csv, {', '.join(TABLES)} or a CSV; "
                     "other layouts are read by a settings file with a mapping (reelmill ingest)")  # fmt: skip


def kind_of(table: Path) -> Kind:
    """The kind of a table, by its name and first line."""
    if table.suffix == ".parquet" or table.name.startswith("interactions."):
        return "interactions"
    if table.suffix == ".csv" and b"youtubeId" in text.read_bytes(table).partition(b"\n")[0]:
        return "phd2"
    return "movielens"


def _interactions(table: Path) -> list[SourceResult]:
    """The table as one source, or as one source for each value of its column `split`, named after it."""
    names, split = _columns(table)
    mapping = {ours: next((n for n in theirs if n in names), theirs[0]) for ours, theirs in NAMES.items()}
    mapping |= {
        ours: next(n for n in theirs if n in names) for ours, theirs in OPTIONAL.items() if {*theirs} & {*names}
    }
    whole = sources.read(table, "mapped", mapping=mapping)
    if split is None:
        return [whole]
    known = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}
    parts: dict[str, list[int]] = {}
    for number, word in enumerate(split.to_pylist(), 1):
        if word not in known:
            raise InputError(f"{table}: split {word!r} in row {number}; known: {', '.join(known)}")
        parts.setdefault(known[word], []).append(number)
    return [_part(whole, name, pa.array(rows)) for name, rows in parts.items()]


def _part(whole: SourceResult, name: str, rows: pa.Array) -> SourceResult:
    """The rows of a source with these numbers, as a source named `name`."""

    def of(events: pa.Table) -> pa.Table:
        mine = events.filter(pc.is_in(events["source_row"], value_set=rows))
        column = pa.repeat(name, mine.num_rows).cast(mine.schema.field("source").type)
        return mine.set_column(mine.column_names.index("source"), mine.schema.field("source"), column)

    events = of(whole.events)
    videos = whole.videos.filter(pc.is_in(whole.videos["video_id"], value_set=pc.unique(events["video_id"])))
    return SourceResult(name, events, of(whole.rejects), videos, len(rows), path=whole.path, named=True)


def _columns(table: Path) -> tuple[list[str], pa.ChunkedArray | None]:
    """Names of the columns, and the column `split` as text, if there is one."""
    try:
        if table.suffix == ".parquet":
            check_rows(pq.read_metadata(table).num_rows, table)
            names = pq.read_schema(table).names
            split = pq.read_table(table, columns=["split"])["split"].cast(pa.string()) if "split" in names else None
            return names, split
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{table} cannot be read as Parquet ({error})") from error
    names, body = text.split_header(text.read_bytes(table), ",", table)
    if "split" not in names:
        return names, None
    return names, text.split(body, ",", names, ["split"], quoted=True).values["split"]


def _vectors(root: AnyRoot, folder: Path) -> dict[str, str]:
    """{modality: store}; an existing store is not changed."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*_features.*")):
        word = file.stem.removesuffix("_features")
        modality = MODALITIES.get(word, word)
        if file.suffix not in SUFFIXES or not file.is_file():
            continue
        if modality in found:
            raise InputError(f"{folder} holds two files of {modality}: {file.name} is the second; keep one")
        found[modality] = _there(root, file, modality) or write_vectors(root, file, "given", modality).store
    return found


def _there(root: AnyRoot, file: Path, modality: str) -> str | None:
    """The store that was made from this very file before."""
    features = Root(root).features
    names = [name for name in features.list() if name.startswith(f"given-{modality}-")]
    sha = hashlib.sha256(file.read_bytes()).hexdigest() if names else ""
    return next((name for name in names if features.open(name).spec.weights_sha256 == sha), None)


def stores_for(dataset: Dataset, roles: Mapping[str, str], optional: frozenset[str]) -> dict[str, str]:
    """{role: store} of a recommender, for a dataset without media: a role takes the modality of its name, `features`
    and `frames` the vectors of pictures (else the first ones); a missing optional role is left out."""
    chosen: dict[str, str] = {}
    first = dataset.stores.get("picture", next(iter(dataset.stores.values()), ""))
    for role in roles:
        store = dataset.stores.get(role, first if role in ("features", "frames") else "")
        if store or role in optional:
            chosen[role] = store
    return chosen
