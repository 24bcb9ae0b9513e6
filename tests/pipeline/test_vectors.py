"""Vectors that somebody else computed, into a store."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.pipeline.vectors import write_vectors
from reelmill.storage import open_store
from reelmill.storage.errors import InputError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ["b", "a", "d", "c"]


def file(folder: Path, suffix: str, vectors: np.ndarray = VECTORS) -> Path:
    path = folder / f"given{suffix}"
    if suffix == ".npy":
        np.save(path, vectors)
    elif suffix == ".npz":
        np.savez(path, vectors=vectors, video_id=np.array(IDS))
    else:
        pq.write_table(pa.table({"video_id": IDS, "vector": vectors.tolist(), "other": IDS}), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_every_format_gives_the_same_vectors(tmp_path: Path, suffix: str) -> None:
    done = write_vectors(tmp_path, file(tmp_path, suffix), "theirs", "picture", IDS if suffix == ".npy" else None)
    assert (done.videos, done.empty) == (4, 0)
    store = open_store(tmp_path, "theirs-picture")
    assert store.spec.name == done.store
    assert (store.spec.rows, store.spec.dim, store.keys()) == ("video", 3, sorted(IDS))
    np.testing.assert_array_equal(store.rows([(video, 0) for video in IDS]), VECTORS)


def test_fixed_lists_and_numbers_as_ids(tmp_path: Path) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 3)
    pq.write_table(pa.table({"video_id": [7, 8, 9, 10], "vector": lists}), tmp_path / "x.parquet")
    write_vectors(tmp_path, tmp_path / "x.parquet", "theirs")
    np.testing.assert_array_equal(open_store(tmp_path, "theirs").read("9").features, VECTORS[[2]])


def test_rows_are_ids_where_nobody_names_them(tmp_path: Path) -> None:
    write_vectors(tmp_path, file(tmp_path, ".npy", VECTORS.astype(np.float16)), "theirs")
    store = open_store(tmp_path, "theirs")
    assert (store.keys(), store.spec.dtype) == (["0", "1", "2", "3"], "float16")


def test_what_is_not_finite_is_no_data(tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[1, 2], vectors[3, 0] = np.nan, np.inf
    done = write_vectors(tmp_path, file(tmp_path, ".npz", vectors), "theirs")
    assert (done.videos, done.empty) == (4, 2)
    store = open_store(tmp_path, "theirs")
    assert [int(store.read(video).mask[0]) for video in IDS] == [1, 0, 1, 0]


def test_another_file_is_another_store(tmp_path: Path) -> None:
    one = write_vectors(tmp_path, file(tmp_path, ".npy"), "theirs")
    assert write_vectors(tmp_path, file(tmp_path, ".npy"), "theirs") == one
    assert write_vectors(tmp_path, file(tmp_path, ".npy", VECTORS + 1), "theirs").store != one.store


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in one of \.npy"):
        write_vectors(tmp_path, tmp_path / "x.csv", "theirs")
    with pytest.raises(InputError, match="cannot be read"):
        write_vectors(tmp_path, tmp_path / "none.npy", "theirs")
    with pytest.raises(InputError, match=r"for 2 videos; needed are numbers \(videos, dim\)"):
        write_vectors(tmp_path, file(tmp_path, ".npy"), "theirs", ids=["a", "b"])
    with pytest.raises(InputError, match="'a' is there twice"):
        write_vectors(tmp_path, file(tmp_path, ".npy"), "theirs", ids=["a", "b", "a", "c"])
    with pytest.raises(InputError, match="leave ids out"):
        write_vectors(tmp_path, file(tmp_path, ".npz"), "theirs", ids=IDS)
    np.savez(tmp_path / "bare.npz", x=VECTORS)
    with pytest.raises(InputError, match="vectors"):
        write_vectors(tmp_path, tmp_path / "bare.npz", "theirs")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        write_vectors(tmp_path, tmp_path / "objects.npy", "theirs")
    pq.write_table(pa.table({"video_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(InputError, match="equally long"):
        write_vectors(tmp_path, tmp_path / "ragged.parquet", "theirs")
