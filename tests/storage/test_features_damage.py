"""Feature stores with damaged, foreign and missing files."""

import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.storage import FeatureStore, open_store, parts
from reelmill.storage.errors import CorruptPart
from reelmill.storage.features import Format, present, verify
from reelmill.storage.verify import stores
from tests.stores import SPEC, block, fill, formats, same


@formats
def test_a_flipped_bit_is_found_and_its_shard_named(tmp_path: Path, format: Format) -> None:
    blocks = [block("a", 20), block("b", 20)]
    folder = fill(tmp_path, blocks, format)
    fill(tmp_path, [block("c")], format)
    part = parts.list_parts(folder)[0]
    good = part.read_bytes()
    noticed = 0
    for place in random.Random(0).sample(range(len(good)), 60):
        part.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        wrong = verify(tmp_path, SPEC.name)
        noticed += bool(wrong)
        assert all(part.name in str(error) for error in wrong)
        if not wrong:  # a byte that means nothing: padding, a time stamp
            assert all(same(one, other) for one, other in zip(FeatureStore(folder).blocks(), blocks, strict=False))
    assert noticed > 10
    part.write_bytes(good)
    assert verify(tmp_path, SPEC.name) == []


@formats
def test_a_flipped_vector_is_found_by_an_open_store(tmp_path: Path, format: Format) -> None:
    folder = fill(tmp_path, [block("video-1", 200)], format)
    store = open_store(tmp_path, "c3d")
    (part,) = parts.list_parts(folder)
    middle = part.stat().st_size // 3
    with part.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))
    (error,) = store.verify()
    assert part.name in str(error)
    assert "extract again" in str(error)
    if format == "hdf5":
        assert "its 1 videos (video-1) do not match its checksum" in str(error)


@formats
@pytest.mark.parametrize("damage", ["cut", "cut a little", "empty", "text", "other file"])
def test_a_broken_shard_is_named(tmp_path: Path, format: Format, damage: str) -> None:
    folder = fill(tmp_path, [block("a", 50)], format)
    fill(tmp_path, [block("b")], format)
    part = parts.list_parts(folder)[0]
    good = part.read_bytes()
    if damage == "other file":
        if format == "hdf5":
            h5py.File(part, "w").close()
        else:
            pq.write_table(pa.table({"a": [1]}), part)
    else:
        part.write_bytes({"cut": good[:900], "cut a little": good[:-1], "empty": b"", "text": b"hello\n"}[damage])
    for refused in (lambda: open_store(tmp_path, SPEC.name), lambda: present(tmp_path, SPEC)):
        with pytest.raises(CorruptPart, match=f"{part.name} is not a complete feature shard.*move it away"):
            refused()
    (error,) = verify(tmp_path, SPEC.name)
    assert part.name in str(error)
    fill(tmp_path, [block("c")], format)
    part.unlink()
    assert open_store(tmp_path, SPEC.name).keys() == ["b", "c"]


@pytest.mark.parametrize(
    "name", ["part-0.h5", "part-0123456789012345-01234567.npy", "part-0123456789012345-01234567.h5.bak", "notes.txt"]
)
def test_a_stranger_in_the_folder_is_skipped_and_counted(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path, [block("a")])
    (folder / name).write_text("hello")
    assert open_store(tmp_path, SPEC.name).keys() == ["a"]
    assert verify(tmp_path, SPEC.name) == []
    (found,) = stores(tmp_path)
    assert (found.strays, found.wrong, found.parts) == ([name], [], 1)
    fill(tmp_path, [block("b")])
    assert open_store(tmp_path, SPEC.name).keys() == ["a", "b"]
    assert (folder / name).read_text() == "hello", "it is somebody's file"


def test_parquet_ids_that_differ_from_the_index_are_found(tmp_path: Path) -> None:
    folder = fill(tmp_path, [block("a"), block("b")], "parquet")
    (part,) = parts.list_parts(folder)
    facts = pq.read_metadata(part).metadata
    rows = pq.read_table(part)
    swapped = rows.set_column(0, rows.schema.field("video_id"), [["b"] * 5 + ["a"] * 5])
    with pq.ParquetWriter(part, rows.schema) as writer:
        writer.write_table(swapped)
        writer.add_key_value_metadata({key: text for key, text in facts.items() if key.startswith(b"reelmill")})
    (error,) = verify(tmp_path, "c3d")
    assert "video_id does not match its index" in str(error)


LIMITED = """
import resource, sys
from pathlib import Path
from reelmill.storage.formats import write_shard
from tests.stores import SPEC, block
path, format = Path(sys.argv[1]), sys.argv[2]
blocks = [block(f"v{n}").packed(SPEC) for n in range(20)]
write_shard(path, format, SPEC, blocks)
size, refused = path.stat().st_size, 0
path.unlink()
for limit in range(0, size, 101):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_shard(path, format, SPEC, blocks)
    except OSError as error:
        assert error.errno, error
        refused += 1
    path.unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write_shard(path, format, SPEC, blocks)
print(refused, len(range(0, size, 101)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
@formats
def test_a_write_that_fails_at_any_byte_is_an_error_and_never_a_crash(tmp_path: Path, format: Format) -> None:
    """HDF5 reads its structures back while it writes; with memory that is not zero it crashed on what a full disk had
    not taken."""
    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "shard", format],
        env={**os.environ, "MALLOC_PERTURB_": "165", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert limited.returncode == 0, limited.stderr
    refused, tried = map(int, limited.stdout.split())
    assert refused == tried > 50
