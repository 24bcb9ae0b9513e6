"""The folder of weights: what is listed, fetched, verified and taken in, by functions and by `reelmill weights`."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from reelmill.extractors.registry import checkpoints
from reelmill.extractors.weights import files
from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels
from reelmill.extractors.weights.hashes import Hash
from reelmill.extractors.weights.load import load
from reelmill.flows.cli.main import app
from reelmill.storage.errors import InputError
from tests.servers import World, misbehaving


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blob(content: bytes) -> str:
    """git's hash of a file."""
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


def states(found: files.WeightFiles | dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """{name: state}, of the functions' result or of the verb's JSON."""
    if isinstance(found, files.WeightFiles):
        return {one.name: one.state for one in found.weights}
    return {row["name"]: row["state"] for row in found["weights"]}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth"
    torch.save({"fc.weight": torch.arange(6.0)}, path)
    return path


@pytest.fixture
def server(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Serves the file as /tiny.pth; its own address is in `elsewhere`."""
    monkeypatch.setenv("no_proxy", "*")
    world = World(files={"/tiny.pth": ("application/octet-stream", file.read_bytes())})
    with misbehaving(world) as address:
        world.elsewhere = address
        yield world


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """The only checkpoint: no hash is published. Weights are kept in tmp_path/kept."""
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path / "kept"))
    return known(
        monkeypatch, Checkpoint("tiny", "c3d", "tiny.pth", None, None, Pixels("RGB", (0, 0, 0)), "MIT", "none")
    )


def known(monkeypatch: pytest.MonkeyPatch, record: Checkpoint) -> Checkpoint:
    """Make it the only record."""
    monkeypatch.setattr("reelmill.extractors.registry.checkpoints", lambda: {record.name: record})
    return record


# --- git's hash ---


def test_git_sha1_is_what_git_says(file: Path) -> None:
    with file.open("rb") as handle:
        handle.read(3)  # wherever it stands
        assert Hash.of(handle, "git_sha1").digits == blob(file.read_bytes())
        assert Hash.of(handle, "sha256").digits == sha256(file)
    if git := shutil.which("git"):
        said = subprocess.run([git, "hash-object", file], capture_output=True, text=True, check=True).stdout.strip()
        assert said == blob(file.read_bytes())


def test_a_file_known_by_gits_hash_is_fetched_and_read(record: Checkpoint, file: Path, server: World) -> None:
    online = dataclasses.replace(record, url=f"{server.elsewhere}/tiny.pth", git_sha1=blob(file.read_bytes()))
    found = load(online)
    assert found.sha256 == sha256(file)  # what goes into the spec
    assert torch.equal(found.state["fc.weight"], torch.arange(6.0))


def test_a_wrong_file_is_told_by_gits_hash(record: Checkpoint, file: Path, server: World) -> None:
    other = dataclasses.replace(record, url=f"{server.elsewhere}/tiny.pth", git_sha1="0" * 40)
    with pytest.raises(InputError, match=f"git_sha1 {blob(file.read_bytes())}, it should be {'0' * 40}"):
        load(other)
    with pytest.raises(InputError, match=f"its git_sha1 is {blob(file.read_bytes())}"):
        load(other, path=file)
    assert load(other, path=file, sha256=sha256(file)).sha256 == sha256(file)


def test_a_sha256_counts_before_gits_hash(record: Checkpoint) -> None:
    assert record.published is None
    assert dataclasses.replace(record, git_sha1="1" * 40).published == Hash("git_sha1", "1" * 40)
    assert dataclasses.replace(record, git_sha1="1" * 40, sha256="2" * 64).published == Hash("sha256", "2" * 64)


# --- the verb ---


def test_every_published_file_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path))
    (tmp_path / "model_rgb.pth").write_bytes(b"something else")
    (tmp_path / "I3D_8x8_R50.pyth").write_bytes(b"who knows")
    ended = run("--json")
    figures = json.loads(ended.stdout)
    found = states(figures)
    assert found.pop("i3d-kinetics400-hassony2") == "wrong"
    assert found.pop("i3d-r50-kinetics400") == "unverified"
    assert set(found.values()) == {"missing"}
    assert len(found) == len(checkpoints()) - 2
    assert ended.exit_code == 0
    assert run("verify").exit_code == 1
    row = figures["weights"][0]
    assert (row["name"], row["extractor"]) == ("c3d-sports1m-openmmlab", "c3d")
    assert row["path"] == str(tmp_path / row["file"])
    assert row["expected"].startswith("sha256 dcc47ddc")
    assert row["pixels"] == {"order": "RGB", "mean": [104, 117, 128], "std": [1, 1, 1], "divisor": 1}
    assert row["size"] == 311_985_866
    told = run().stdout
    for word in (*checkpoints(), "CC BY-NC 3.0", "missing", blob(b"something else"), "no hash is published"):
        assert word in told


def test_fetch_brings_a_file_once(
    record: Checkpoint, file: Path, server: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = dataclasses.replace(record, url=f"{server.elsewhere}/tiny.pth", sha256=sha256(file))
    known(monkeypatch, record)
    assert states(json.loads(run("fetch", "tiny", "--json").stdout)) == {"tiny": "verified"}
    assert run("fetch", "tiny").exit_code == 0
    assert len(server.hits("/tiny.pth")) == 1
    files.place(record).write_bytes(b"damaged")
    damaged = run("verify")
    assert damaged.exit_code == 1
    assert "wrong" in damaged.stdout
    assert states(files.fetch_file(record)) == {"tiny": "verified"}
    assert len(server.hits("/tiny.pth")) == 2
    assert run("verify", "tiny").exit_code == 0
    assert [kept.name for kept in files.folder().iterdir()] == ["tiny.pth"]


def test_an_unpublished_hash_is_the_users_to_say_once(record: Checkpoint, file: Path) -> None:
    with pytest.raises(InputError, match=f"reelmill weights import tiny {file} --sha256 {sha256(file)}"):
        files.import_file(record, file)
    assert run("import", "tiny", file, "--sha256", sha256(file)).exit_code == 0
    assert states(files.describe_files(files.present([record]))) == {"tiny": "verified"}
    assert load(record).sha256 == sha256(file)  # without saying it again
    assert (files.folder() / "tiny.pth.sha256").read_text() == f"{sha256(file)}  tiny.pth\n"
    files.place(record).write_bytes(b"damaged")
    assert states(files.verify_file(record)) == {"tiny": "wrong"}
    with pytest.raises(InputError, match=sha256(file)):
        load(record)


def test_the_word_kept_counts_in_the_folder_only(record: Checkpoint, file: Path) -> None:
    file.with_name("mine.pth.sha256").write_text(f"{sha256(file)}  mine.pth\n")
    with pytest.raises(InputError, match="no hash of tiny is published"):
        load(record, path=file)
    files.import_file(record, file, sha256(file))
    (files.folder() / "tiny.pth.sha256").write_text("")
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        load(record)


def test_import_takes_the_published_file_or_one_that_is_trusted(record: Checkpoint, file: Path) -> None:
    strict = dataclasses.replace(record, git_sha1=blob(b"another"))
    with pytest.raises(InputError, match=f"its git_sha1 is {blob(file.read_bytes())}"):
        files.import_file(strict, file)
    assert not files.place(record).exists()
    assert states(files.import_file(strict, file, sha256(file))) == {"tiny": "verified"}
    file.write_bytes(b"another")
    assert states(files.import_file(strict, file)) == {"tiny": "verified"}
    assert [kept.name for kept in files.folder().iterdir()] == ["tiny.pth"]  # the word for the other one is gone
    assert states(files.import_file(strict, files.place(record))) == {"tiny": "verified"}  # it lay in its place already


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fetch"], "give list, verify"),
        (["fetch", "tiny", "x.pth"], "give list, verify"),
        (["import", "tiny"], "import NAME FILE"),
        (["forget", "tiny"], "weights forget: give list"),
        (["verify", "tiny", "--sha256", "0" * 64], "give list"),
        (["fetch", "tinny"], "did you mean 'tiny'"),
        (["fetch", "tiny"], "no hash of tiny is published, so it is not downloaded"),
        (["fetch", "tiny", "--sha256", "0" * 64], "no program can download it"),
        (["verify", "tiny"], "does not exist; get it with `reelmill weights fetch tiny`"),
        (["import", "tiny", "none.pth"], "none.pth: no such file"),
        (["import", "tiny", "{file}", "--sha256", "abc"], "64 hexadecimal digits"),
    ],
)
@pytest.mark.usefixtures("record")
def test_wrong_input_is_refused(file: Path, arguments: list[str], told: str) -> None:
    ended = run(*(argument.format(file=file) for argument in arguments))
    assert isinstance(ended.exception, InputError)
    assert told in str(ended.exception)


def test_a_folder_that_cannot_be_written_is_told(
    record: Checkpoint, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path / "occupied"))
    with pytest.raises(InputError, match="cannot be copied"):
        files.import_file(record, file, sha256(file))
