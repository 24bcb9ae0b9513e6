"""Files of others: nothing in them is run, nothing in them becomes larger than it may."""

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reelmill.extractors.registry import build_encoder
from reelmill.extractors.text.words import read_vectors
from reelmill.extractors.weights.checkpoints import Checkpoint
from reelmill.extractors.weights.hashes import Hash
from reelmill.extractors.weights.load import load as load_weights
from reelmill.flows.settings.load import load as load_settings
from reelmill.flows.settings.load import value
from reelmill.models.runs import Run
from reelmill.models.runs import load as load_run
from reelmill.pipeline import segments, sources
from reelmill.pipeline.sources import bounds
from reelmill.pipeline.vectors import write_vectors
from reelmill.storage import arrays
from reelmill.storage.errors import CorruptPart, InputError, ReelmillError


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "trace")


def torch_file(path: Path, trap: Trap, legacy: bool) -> None:
    torch.save({"model": "transgrec", "state": {"w": trap}}, path, _use_new_zipfile_serialization=not legacy)


# Code


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_no_code_of_a_checkpoint_is_run(tmp_path: Path, trap: Trap, form: str) -> None:
    """Of the weights of a network, of a fitted model, and of one whose training goes on."""
    for name in ("net.pth", "checkpoint.pt", "last.pt"):
        if form == "pickle":
            (tmp_path / name).write_bytes(pickle.dumps(trap, protocol=2))
        else:
            torch_file(tmp_path / name, trap, form == "legacy")
    with (tmp_path / "net.pth").open("rb") as file:
        digits = Hash.of(file, "sha256").digits
    record = Checkpoint("net", "c3d", "net.pth", None, None, None, "", "")
    for read in (
        lambda: load_weights(record, path=tmp_path / "net.pth", sha256=digits),
        lambda: load_run(tmp_path),
        lambda: Run(tmp_path).progress(),
    ):
        with pytest.raises(ReelmillError, match=r"run code|not a checkpoint|cannot be read"):
            read()
    assert not trap.trace.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.trace.exists(), "the trap works"


def array_file(path: Path, trap: Trap) -> None:
    held = np.array([trap], dtype=object)
    if path.suffix == ".npy":
        np.save(path, held, allow_pickle=True)
    else:
        np.savez(path, vectors=held, video_id=held, facts=held)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_no_code_of_an_array_is_run(tmp_path: Path, trap: Trap, suffix: str) -> None:
    """Of vectors from elsewhere, of a mean volume, of an encoder that a root keeps."""
    path = tmp_path / f"x{suffix}"
    array_file(path, trap)
    with pytest.raises(InputError, match="run code"):
        write_vectors(tmp_path / "root", path, "given")
    if suffix == ".npz":
        with pytest.raises(CorruptPart, match="run code"):
            build_encoder("topics").read(path)
    path.write_bytes(pickle.dumps(trap))
    with pytest.raises(InputError):
        write_vectors(tmp_path / "root", path, "given")
    with pytest.raises(CorruptPart):
        build_encoder("topics").read(path)
    assert not trap.trace.exists()


def test_no_code_of_word_vectors_is_run(tmp_path: Path, trap: Trap) -> None:
    for name in ("v.kv", "v.bin", "v.txt"):
        (tmp_path / name).write_bytes(pickle.dumps(trap))
        with pytest.raises(InputError, match="run code"):
            read_vectors(tmp_path / name)
    assert not trap.trace.exists()


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!!python/name:os.x"]
)
def test_no_code_of_settings_is_run(tmp_path: Path, trap: Trap, tag: str) -> None:
    (tmp_path / "s.yaml").write_text(f"root: {tag} ['{trap.trace}']\n")
    with pytest.raises(InputError, match="not YAML"):
        load_settings(tmp_path / "s.yaml")
    assert value(f"{tag} ['{trap.trace}']") == f"{tag} ['{trap.trace}']"
    assert not trap.trace.exists()


# Sizes


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_is_as_large_as_its_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    lie = header((1 << 33, 4096)) + b"\0" * 64
    if suffix == ".npy":
        path.write_bytes(lie)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("vectors", "video_id", "facts"):
                archive.writestr(f"{name}.npy", lie)
        with pytest.raises(CorruptPart, match="header claims"):
            build_encoder("topics").read(path)
    with pytest.raises(InputError, match="header claims"):
        write_vectors(tmp_path / "root", path, "given")


def test_a_zip_does_not_unpack_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_UNPACKED", 1 << 20)
    path = tmp_path / "x.npz"
    np.savez_compressed(path, vectors=np.zeros((2, 1 << 20), np.float32), video_id=np.array(["a", "b"]))
    with pytest.raises(InputError, match="unpacks to"):
        write_vectors(tmp_path / "root", path, "given")
    with pytest.raises(CorruptPart, match="unpacks to"):
        build_encoder("topics").read(path)
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (4 << 20))
    with pytest.raises(CorruptPart, match="unpacks to"):
        load_run(tmp_path)
    noise = np.random.default_rng(0).random((2, 1 << 18)).astype(np.float32)
    np.savez_compressed(path, vectors=noise, video_id=np.array(["a", "b"]))
    assert write_vectors(tmp_path / "root", path, "given").videos == 2


def test_a_checkpoint_with_other_sizes_is_named(tmp_path: Path) -> None:
    saved = {"model": "transgrec", "code_version": 1, "settings": {}, "sizes": {"users": 1 << 60}, "state": {},
             "stores": {}, "identities": {}}  # fmt: skip
    for change in ({}, {"sizes": {"no": 1}}, {"settings": 3}, {"model": ["x"]}, {"state": {"w": torch.ones(2)}}):
        torch.save({**saved, **change}, tmp_path / "checkpoint.pt")
        with pytest.raises(ReelmillError):
            load_run(tmp_path)


@pytest.mark.parametrize("first", ["9 999999999999", "9" * 400 + " 3", "3 5000"])
def test_word_vectors_are_bounded(tmp_path: Path, first: str) -> None:
    (tmp_path / "v.txt").write_text(f"{first}\na 1 2 3\n")
    with pytest.raises(InputError, match="vectors"):
        read_vectors(tmp_path / "v.txt")


def laughs(kind: str) -> str:
    """Some lines that stand for 10¹² values."""
    lists = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for ours, theirs in zip("bcdefghijkl", "abcdefghijk", strict=True):
        lists.append(f"{ours}: &{ours} [{', '.join([f'*{theirs}'] * 10)}]")
    if kind == "merged":
        lists = ["a: &a {x: 1}"] + [line.replace("[", "{<<: [").replace("]", "]}") for line in lists[1:]]
    return "\n".join(lists)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["lists", "merged", "deep", "round", "large"])
def test_settings_do_not_grow_without_end(tmp_path: Path, kind: str) -> None:
    text = {
        "deep": "root: " + "[" * 20_000, "round": "root: &a [*a]", "large": "root: r\n" + "# x\n" * 400_000,
    }.get(kind) or f"{laughs(kind)}\nroot: *l\n"  # fmt: skip
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings(tmp_path / "s.yaml")
    assert len(str(caught.value)) < 2000
    (tmp_path / "good.yaml").write_text("root: r\nsegments: &s {theta: 0.25}\n")
    assert load_settings(tmp_path / "good.yaml").segments.theta == 0.25


MAPPING = {"user_id": "u", "video_id": "v"}


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.gz"])
def test_a_table_does_not_unpack_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(bounds, "MOST_UNPACKED", 1 << 20)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(b"u,v\n" + b"1,2\n" * (1 << 20)))
    with pytest.raises(InputError, match="unpacks to more than"):
        sources.read(path, "mapped", mapping=MAPPING)


def test_a_parquet_file_says_how_many_rows_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal values take no room: a billion rows are some kB."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"u": pa.repeat("a", 200_000), "v": pa.repeat("b", 200_000)}), path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(bounds, "memory", lambda: 100_000 * bounds.ROW_BYTES)
    with pytest.raises(InputError, match="200,000 rows"):
        sources.read(path, "mapped", mapping=MAPPING)


def test_claimed_durations_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of twenty bytes claims a video of a week, whose grid takes 6 MB."""
    week = np.full(10, 7 * 24 * 3600 * 1000)
    ids = [f"v{n}" for n in range(10)]
    monkeypatch.setattr(segments, "memory", lambda: 1_000_000 * bounds.ROW_BYTES)
    with pytest.raises(InputError, match="1,209,600 segments"):
        segments.grid(ids, week)
    assert segments.grid(ids[:3], week[:3]).num_rows == 3 * 120_960


@pytest.mark.parametrize("line", ["[" * 100_000, '{"u":' * 50_000, '{"u": ' + "9" * 100_000 + ', "v": 1}'])
def test_nested_json_is_a_reject(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"u": 1, "v": 2}) + "\n" + line + "\n")
    result = sources.read(path, "mapped", mapping=MAPPING)
    assert (result.events.num_rows, result.rejects["reason"].to_pylist()) == (1, ["malformed_row"])


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo, Path.mkdir])
@pytest.mark.timeout(30)
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("x.csv", "x.npy"):
        make(tmp_path / name)
    with pytest.raises(InputError, match="not a file"):
        sources.read(tmp_path / "x.csv", "mapped", mapping=MAPPING)
    with pytest.raises(InputError, match="not a file"):
        write_vectors(tmp_path / "root", tmp_path / "x.npy", "given")
