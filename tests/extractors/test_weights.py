"""Where weights come from, and what is refused. Small networks, small files, a server on loopback."""

import dataclasses
import hashlib
import http.server
import logging
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from reelmill.extractors import registry
from reelmill.extractors.weights import fetch, files
from reelmill.extractors.weights import load as weights
from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels
from reelmill.extractors.weights.hashes import Hash
from reelmill.extractors.weights.load import Weights, install, load, random_weights
from reelmill.storage.errors import InputError

CHECKPOINTS = registry.checkpoints()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(64, 32)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint without a hash; weights are kept in tmp_path/kept."""
    monkeypatch.setenv("REELMILL_WEIGHTS", str(tmp_path / "kept"))
    monkeypatch.setenv("no_proxy", "*")
    pixels = Pixels("RGB", (0.0, 0.0, 0.0))
    return Checkpoint("tiny", "tiny", "tiny.pth", None, None, pixels, licence="MIT", citation="none")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A well-formed file of weights."""
    path = tmp_path / "tiny.pth"
    torch.save(Net().state_dict(), path)
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on loopback: files of tmp_path; /to/<address> redirects there, /short/<file> ends early."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.end_headers()
            elif self.path.startswith("/short/"):
                content = (tmp_path / self.path.removeprefix("/short/")).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:-100])
                self.close_connection = True
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    handler = lambda *args: Handler(*args, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


# --- the records ---


def test_weights_are_found_by_default_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c3d = registry.find("c3d")
    default, davidea = CHECKPOINTS["c3d-sports1m-openmmlab"], CHECKPOINTS["c3d-sports1m-davidea"]
    assert c3d.find_weights("default") == c3d.find_weights("random") == (default, None)
    assert c3d.find_weights("c3d-sports1m-davidea") == (davidea, None)
    assert c3d.find_weights("~/c3d.pickle") == (davidea, Path.home() / "c3d.pickle")
    assert c3d.find_weights("./mine.pth") == (default, Path("mine.pth"))
    monkeypatch.chdir(tmp_path)
    Path("c3d.pickle").touch()
    assert c3d.find_weights("c3d.pickle") == (davidea, Path("c3d.pickle"))


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'vgg19-imagenet'"):
        registry.find("vgg19").find_weights("vgg19-imagnet")
    with pytest.raises(InputError, match="'vgg19-imagenet' for c3d"):
        registry.find("c3d").find_weights("vgg19-imagenet")


@pytest.mark.parametrize("record", CHECKPOINTS.values(), ids=str)
def test_a_record_is_complete(record: Checkpoint) -> None:
    assert record.licence
    assert record.citation
    assert record.sha256 is None or len(record.sha256) == 64
    assert record.git_sha1 is None or len(record.git_sha1) == 40
    if record.sha256 and not record.git_sha1:  # the publishers put the first 8 digits in the name
        assert f"-{record.sha256[:8]}." in record.file
    assert record.non_commercial == record.name.startswith("c3d")


# --- reading ---


def test_load_reads_a_file_that_is_the_one_trusted(record: Checkpoint, file: Path) -> None:
    found = load(record, path=file, sha256=sha256(file).upper())
    assert (found.name, found.sha256) == ("tiny", sha256(file))
    net = Net()
    install(net, found)
    assert torch.equal(net.fc.weight, found.state["fc.weight"])


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state"])
@pytest.mark.parametrize("legacy", [False, True])
def test_load_unwraps_and_reads_both_formats(record: Checkpoint, file: Path, wrapper: str, legacy: bool) -> None:
    state = Net().state_dict()
    torch.save({wrapper: state, "epoch": 3}, file, _use_new_zipfile_serialization=not legacy)
    found = load(record, path=file, sha256=sha256(file))
    assert found.state.keys() == state.keys()
    assert torch.equal(found.state["fc.weight"], state["fc.weight"])


def test_the_weights_folder_is_looked_into(record: Checkpoint, file: Path) -> None:
    kept = files.folder() / record.file
    kept.parent.mkdir()
    file.rename(kept)
    assert load(record, sha256=sha256(kept)).sha256 == sha256(kept)


def test_the_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELMILL_WEIGHTS", raising=False)
    assert files.folder() == Path.home() / ".cache/reelmill/weights"


def test_a_wrong_hash_is_refused_naming_both(record: Checkpoint, file: Path) -> None:
    good = sha256(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # torch alone would read it
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load(dataclasses.replace(record, sha256=good), path=file)
    assert good in str(error.value)
    assert sha256(file) in str(error.value)


def test_a_file_whose_hash_nobody_knows_needs_the_users_word(record: Checkpoint, file: Path) -> None:
    with pytest.raises(InputError, match=f"weights_sha256: {sha256(file)}"):
        load(record, path=file)
    with pytest.raises(InputError, match=f"put it at {files.folder() / 'tiny.pth'}"):
        load(record)
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        load(record, path=file, sha256="abc")


def test_a_path_that_is_not_there_is_refused(record: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: no such file"):
        load(record, path=tmp_path / "none.pth", sha256="0" * 64)


class Malice:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_file_that_holds_code_is_refused_and_the_code_not_run(
    record: Checkpoint, file: Path, tmp_path: Path, form: str
) -> None:
    malice = Malice(tmp_path / "trace")
    if form == "pickle":
        file.write_bytes(pickle.dumps(malice, protocol=2))
    else:
        torch.save({"fc.weight": malice}, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(InputError, match="tiny"):
        load(record, path=file, sha256=sha256(file))
    assert not malice.trace.exists()
    pickle.loads(pickle.dumps(malice))  # the trap works
    assert malice.trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_checkpoint_is_refused(record: Checkpoint, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny\.pth"):
        load(record, path=file, sha256=sha256(file))


def test_a_cut_file_is_refused(record: Checkpoint, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])
    assert not zipfile.is_zipfile(file)
    with pytest.raises(InputError, match=r"tiny\.pth"):
        load(record, path=file, sha256=sha256(file))


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"fc.weight": 3}, torch.zeros(2)])
def test_a_file_that_is_no_state_dict_is_refused(record: Checkpoint, file: Path, content: object) -> None:
    torch.save(content, file)
    with pytest.raises(InputError, match="neither a state dict"):
        load(record, path=file, sha256=sha256(file))


def test_the_licence_is_told_once(record: Checkpoint, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights._tell_licence.cache_clear()
    restricted = dataclasses.replace(record, licence="CC BY-NC 3.0", non_commercial=True)
    for _ in range(2):
        load(restricted, path=file, sha256=sha256(file))
    told = [entry for entry in caplog.records if "CC BY-NC 3.0" in entry.getMessage()]
    assert [entry.levelno for entry in told] == [logging.WARNING]


# --- installing ---


def test_install_wants_every_tensor_and_no_other() -> None:
    state = Net().state_dict()
    state["extra.weight"] = torch.zeros(1)
    del state["fc.bias"]
    state["conv.weight"] = torch.zeros(4, 3, 5, 5)
    with pytest.raises(InputError) as error:
        install(Net(), Weights("tiny", "", state))
    for told in ("1 missing (fc.bias)", "1 unexpected (extra.weight)", "conv.weight (4, 3, 5, 5) for (4, 3, 3, 3)"):
        assert told in str(error.value)


# --- random ---


def test_random_weights_depend_on_the_seed_alone() -> None:
    net = Net()
    before = torch.get_rng_state()
    first = random_weights(net, 7, {})
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    with torch.device("meta"):
        again = random_weights(Net(), 7, {})
    other = random_weights(net, 8, {})
    assert first.name == "random-7"
    assert first.sha256 == again.sha256 != other.sha256
    assert all(torch.equal(first.state[key], again.state[key]) for key in first.state)


def test_random_weights_keep_the_variance() -> None:
    net = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(512, 512), nn.ReLU())))
    install(net, random_weights(net, 0, {}))
    with torch.no_grad():
        out = net(torch.randn(64, 512, generator=torch.Generator().manual_seed(0)))
    assert (
        0.5 < float(out.square().mean()) < 2.0
    )  # the second moment after ReLU: half of the variance before it, doubled


def test_random_batch_norm_is_the_identity_and_gains_multiply() -> None:
    state = random_weights(Net(), 0, {"norm.weight": 0.5}).state
    assert state["norm.weight"].tolist() == [0.5] * 4
    assert state["norm.running_var"].tolist() == [1.0] * 4
    assert not any(state[key].any() for key in ("norm.bias", "norm.running_mean", "conv.bias", "fc.bias"))
    assert state["norm.num_batches_tracked"].dtype == torch.int64


# --- fetching ---


def test_load_fetches_a_file_and_keeps_it(record: Checkpoint, file: Path, server: str) -> None:
    online = dataclasses.replace(record, url=f"{server}/to/{server}/tiny.pth", sha256=sha256(file))
    assert load(online).sha256 == sha256(file)
    file.unlink()
    assert load(online).name == "tiny"  # now from the folder
    assert [kept.name for kept in files.folder().iterdir()] == ["tiny.pth"]


def test_a_fetched_file_with_another_hash_is_not_kept(record: Checkpoint, file: Path, server: str) -> None:
    online = dataclasses.replace(record, url=f"{server}/tiny.pth", sha256="0" * 64)
    with pytest.raises(InputError) as error:
        load(online)
    assert sha256(file) in str(error.value)
    assert "0" * 64 in str(error.value)
    assert list(files.folder().iterdir()) == []


def test_a_fetched_file_is_bounded(file: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "kept" / "tiny.pth"
    with pytest.raises(OSError, match="more than the 100 bytes"):
        fetch.fetch(f"{server}/tiny.pth", target, Hash("sha256", sha256(file)), size=100)
    monkeypatch.setattr(fetch, "SIZE_LIMIT", 200)
    with pytest.raises(OSError, match="more than the 200 bytes"):
        fetch.fetch(f"{server}/tiny.pth", target, Hash("sha256", sha256(file)))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["file://{file}", "{server}/to/file://{file}", "{server}/to/ftp://127.0.0.1/tiny.pth"]
)
def test_only_http_is_followed(file: Path, tmp_path: Path, server: str, address: str) -> None:
    target = tmp_path / "kept" / "tiny.pth"
    with pytest.raises(OSError, match=r"No connection adapters were found for .(file|ftp)://"):
        fetch.fetch(address.format(file=file, server=server), target, Hash("sha256", sha256(file)))
    assert list(target.parent.iterdir()) == []


def test_the_proxy_of_the_environment_is_used(
    record: Checkpoint, file: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that does not exist is reached through the server, which is asked for the whole address."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", server)
    (file.parent / "http:" / "weights.invalid").mkdir(parents=True)
    file.rename(file.parent / "http:" / "weights.invalid" / "tiny.pth")
    kept = file.parent / "http:" / "weights.invalid" / "tiny.pth"
    online = dataclasses.replace(record, url="http://weights.invalid/tiny.pth", sha256=sha256(kept))
    assert load(online).sha256 == sha256(kept)


def test_a_file_that_ends_early_is_not_kept(record: Checkpoint, file: Path, server: str) -> None:
    """The server says a length and closes before."""
    online = dataclasses.replace(record, url=f"{server}/short/tiny.pth", sha256=sha256(file))
    with pytest.raises(InputError, match="cannot be downloaded"):
        load(online)
    assert list(files.folder().iterdir()) == []


def test_without_a_network_the_message_says_what_to_do(record: Checkpoint, server: str) -> None:
    for url in ("http://127.0.0.1:9/tiny.pth", f"{server}/none.pth", None):
        with pytest.raises(InputError) as error:
            load(dataclasses.replace(record, url=url, sha256="0" * 64))
        for told in (str(files.folder() / "tiny.pth"), "0" * 64, "weights: random", "$REELMILL_WEIGHTS"):
            assert told in str(error.value)
