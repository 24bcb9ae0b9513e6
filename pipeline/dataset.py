"""A published data set, read as it was published: who liked what, and vectors of whole videos.

    kind              file or folder                                        becomes
    movielens         ratings.dat, ratings.csv, u.data (or .gz)             ratings, films, users
    recbole           X.inter, X.item, X.user, of RecBole or MMRec          ratings or watches, videos, users
    microlens         *pairs.csv                                            watches
    kuairec           big_matrix.csv (else small_matrix.csv)                watches, videos
    kuairand          log_standard_*.csv, one source each                   ratings 1 (clicked) and 0, videos
    amazon            ratings_*.csv, reviews as CSV or JSON lines           ratings
    phd2              a CSV with a column youtubeId                         highlights, segments, labels
    interactions      any other table with a user_id and an item_id         watches (ratings, where there is a rating)

Interactions may have a column `split` (train, validation, test; MMRec's `x_label`: 0, 1, 2), which the settings `split:
given` use. Vectors are in files `<modality>_features.npy` (or .npz, .parquet; see `vectors`) beside the table, whose
rows or ids are item ids.

    read("root", "tiktok/")        # interactions.parquet, image_features.npy, audio_features.npy
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline import labels, sources
from reelmill.pipeline.sources import IngestCounts, Source, layouts
from reelmill.pipeline.sources.dialect import suffix_of
from reelmill.pipeline.sources.layouts import ITEMS, USERS, Layout
from reelmill.pipeline.sources.rows import Summary
from reelmill.pipeline.sources.tables import SUFFIXES as TABLE_SUFFIXES
from reelmill.pipeline.sources.tables import Table, Wanted, open_table
from reelmill.pipeline.vectors import SUFFIXES, write_vectors
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

Kind = Literal["movielens", "recbole", "microlens", "kuairec", "kuairand", "amazon", "phd2", "interactions"]

INTERACTIONS = tuple(f"interactions{suffix}" for suffix in (".parquet", ".csv", ".tsv", ".jsonl"))
TABLES = ("ratings*.dat", "ratings*.dat.gz", "ratings.csv", "*.inter", "*.inter.gz", "u.data")
"""Names of ratings."""
MICRO = ("*pairs.csv", "big_matrix.csv", "log_standard*.csv", "ratings_*.csv", "reviews_*.json*")
"""Names of the tables of other published sets."""
MODALITIES = {"image": "picture", "visual": "picture", "audio": "sound", "acoustic": "sound", "textual": "text"}
"""Names of modalities in published data sets, and ours."""
OPTIONAL = {"time": ("time", "timestamp"), "value": ("rating", "value")}
SPLITS = ("split", "x_label")
"""Columns that divide a table into parts."""
PARTS = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test",
         "0": "train", "1": "validation", "2": "test"}  # fmt: skip
"""{word in such a column: our part}"""


@dataclass(frozen=True)
class Dataset:
    """What was read from a data set."""

    kind: Kind
    sources: list[IngestCounts]
    """One source, or one for each part of a published split, or for each log of KuaiRand."""
    stores: dict[str, str]
    """{modality: store of its vectors}."""
    labels: int
    """Labels of segments, from claimed durations."""
    notes: tuple[str, ...] = ()
    """Remarks about files beside the table, for the user."""


def read(root: AnyRoot, path: str | Path) -> Dataset:
    """Read a data set into a root; what is there already is not written again. Raises InputError if its layout is none
    of those above, or a file is missing."""
    files = find(Path(path))
    layout = _layout(files[0])
    counts = [
        sources.write_source(root, part)
        for file in files
        for part in (_interactions(file) if layout is None else _published(file, layout))
    ]
    made = labels.write_labels(root).labels if layout is layouts.PHD2 else 0
    notes = tuple(dict.fromkeys(note for count in counts for note in count.notes)) + _left(files, layout)
    kind: Kind = "interactions" if layout is None else layout.format  # type: ignore[assignment]
    return Dataset(kind, counts, _vectors(root, files[0].parent), made, notes)


def find(path: Path) -> list[Path]:
    """The tables of a data set: the file itself, or those of a folder, mostly one. Raises InputError if there is none,
    or several that are not parts of one set."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"data {path} is neither a file nor a folder; check the path")
    for patterns in (INTERACTIONS, TABLES, MICRO, ("*.csv", "*.csv.gz", "*.tsv", "*.jsonl*", "*.parquet")):
        found = sorted({file for pattern in patterns for file in path.glob(pattern) if not _vector_file(file)})
        if len(found) == 1 or (found and all(file.match("log_standard*.csv") for file in found)):
            return found
        if found:
            raise InputError(f"data {path} holds {', '.join(file.name for file in found)}; give one of them")
    if (path / "data").is_dir():  # KuaiRec and KuaiRand
        return find(path / "data")
    raise InputError(f"data {path} has none of {', '.join((*INTERACTIONS[:2], *TABLES, *MICRO))} or a CSV; "
                     f"{layouts.UNKNOWN}")  # fmt: skip


def _vector_file(file: Path) -> bool:
    return file.stem.endswith("_features") and file.suffix in SUFFIXES


def _layout(table: Path) -> Layout | None:
    """The layout of a table; None for interactions. Raises InputError if it is none of those known."""
    if not table.name.startswith("interactions."):
        layout = layouts.recognise(table)
        if layout is not None:
            return layout
    opened = open_table(table) if suffix_of(table) in TABLE_SUFFIXES else None
    if opened is None or not ({*USERS} & {*opened.names} and {*ITEMS} & {*opened.names}):
        raise InputError(
            f"data {table} has an unknown layout{'' if opened is None else _columns_of(opened)}; {layouts.UNKNOWN}"
        )
    return None


def _columns_of(table: Table) -> str:
    return f" (columns {', '.join(table.names[:12])}{' …' if len(table.names) > 12 else ''})"


def _left(files: list[Path], layout: Layout | None) -> tuple[str, ...]:
    """A remark about tables of the set that are not read with the others."""
    if layout is None or not layout.left:
        return ()
    left = sorted(file.name for file in files[0].parent.glob(layout.left) if file not in files)
    return (f"not read: {', '.join(left)}; give --data one of these files to read it",) if left else ()


def _published(file: Path, layout: Layout) -> "list[Source] | list[Part]":
    """A table of a known layout, maybe divided into parts."""
    form = layout.format
    return _divided(lambda: sources.open_source(file, form))  # type: ignore[arg-type]


def _interactions(file: Path) -> "list[Source] | list[Part]":
    """Any table with users and items."""
    names = open_table(file).names
    mapping = {
        ours: next((n for n in theirs if n in names), theirs[0])
        for ours, theirs in (("user_id", USERS), ("video_id", ITEMS))
    }
    mapping |= {
        ours: next(n for n in theirs if n in names) for ours, theirs in OPTIONAL.items() if {*theirs} & {*names}
    }
    return _divided(lambda: sources.open_source(file, "mapped", mapping=mapping))


def _divided(make: Callable[[], Source]) -> "list[Source] | list[Part]":
    """The source that `make` opens, or one for each part of its split."""
    whole = make()
    split = next((name for name in whole.table.names if name.partition(":")[0] in SPLITS), None)
    if split is None:
        return [whole]
    words: dict[str, int] = {}
    codes = []
    rows = 0
    for read in whole.table.batches(Wanted((split,))):
        for row, word in enumerate(read.values[split].cast(pa.string()).to_pylist(), rows + 1):
            if word not in PARTS and word.removesuffix(".0") not in PARTS:
                raise InputError(f"{whole.path}: split {word!r} in row {row}; known: {', '.join(PARTS)}")
            codes.append(words.setdefault(PARTS[word.removesuffix(".0")], len(words)))
        rows += read.rows
    part_of = np.array(codes, np.int8)
    return [Part(name, make(), part_of == code) for name, code in words.items()]


class Part:
    """The rows of a source that belong to one part of its split, as a source named after the part."""

    def __init__(self, name: str, whole: Source, mine: np.ndarray) -> None:
        """`mine`: (rows,) bool."""
        self.source, self.path, self.named = name, whole.path, True
        self._whole, self._mine = whole, mine
        self._videos = pa.array([], pa.string())

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """See `AnySource`."""
        for tables in self._whole.batches():
            events, rejects = (self._of(table) for table in tables)
            self._videos = pc.unique(pa.chunked_array([self._videos, *events["video_id"].chunks]))
            yield events, rejects

    def summary(self) -> Summary:
        """See `AnySource`."""
        whole = self._whole.summary()
        videos = whole.videos.filter(pc.is_in(whole.videos["video_id"], value_set=self._videos))
        return Summary(
            self.source, videos, int(self._mine.sum()), notes=whole.notes, users=whole.users,
            understood=whole.understood,
        )  # fmt: skip

    def _of(self, rows: pa.Table) -> pa.Table:
        mine = rows.filter(pa.array(self._mine[rows["source_row"].to_numpy() - 1]))
        column = pa.repeat(self.source, mine.num_rows).cast(mine.schema.field("source").type)
        return mine.set_column(mine.column_names.index("source"), mine.schema.field("source"), column)


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
