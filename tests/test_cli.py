"""The command as a person meets it: results on stdout, the rest on stderr, errors in one message, README in step."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows import tell
from flows.cli import app
from flows.settings import load
from storage import FeatureWriter, Spec, Tables
from storage.features import Block

README = (Path(__file__).parents[1] / "README.md").read_text()
VERBS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)
PHD2 = """youtubeId,start,duration,user_id,video_duration,is_last
aaaaaaaaaaa,0.0,5.0,1,12.0,False
aaaaaaaaaaa,4.0,5.0,1,12.0,True
bbbbbbbbbbb,1.0,2.0,2,-1.0,True
"""


def block(video_id: str, spec: Spec) -> Block:
    """Three rows of a video."""
    index, rows = np.arange(3), np.arange(3 * spec.dim, dtype=np.float32).reshape(3, spec.dim)
    return Block(video_id, rows, np.ones(3, np.uint8), index.astype(np.int32), index * 5000, index * 5000 + 5000)


def reelmill(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its own process."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **env}, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "likes.csv").write_text(PHD2)
    return tmp_path / "likes.csv"


def test_label_makes_segments_and_labels(tmp_path: Path, source: Path) -> None:
    first = reelmill("label", source, "--format", "phd2", "--root", tmp_path / "root", "--json")
    assert first.returncode == 0, first.stderr
    figures = json.loads(first.stdout)
    assert figures["source"]["reasons"] == {"unknown_duration": 1}
    assert (figures["labels"]["segments"], figures["labels"]["labels"]) == (3, 2)
    labels = Tables(tmp_path / "root").read("labels").to_pylist()
    assert [(row["user_id"], row["segment_index"]) for row in labels] == [("1", 0), ("1", 1)]
    again = json.loads(reelmill("label", source, "--root", tmp_path / "root", "--json").stdout)
    assert not again["labels"]["written"]
    assert not again["source"]["written"]
    told = reelmill("label", source, "--root", tmp_path / "root").stdout
    assert "1 unknown_duration" in told
    assert "3 segments of 1 videos" in " ".join(told.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label", "none.csv"], "error: source none.csv is not a file"),
        (["label", "x.csv", "--format", "phd"], "'phd2', 'movielens', 'mapped' or 'folder' (given: 'phd')"),
        (["status", "--root", "/none"], "error: root '/none' is not a folder"),
        (["run", "none.yaml"], "error: settings file none.yaml does not exist; `reelmill settings"),
        (["run"], "Missing argument"),
        (["extract", "--root", "r", "--set", "extract.workrs=1"], "did you mean 'workers'?"),
        (["labl"], "No such command 'labl'"),
    ],
)
def test_wrong_input_is_one_message_and_exit_two(arguments: list[str], message: str) -> None:
    ended = reelmill(*arguments)
    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.replace("│", " ").split())
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_status_and_verify_tell_what_is_there(tmp_path: Path, source: Path) -> None:
    reelmill("label", source, "--root", tmp_path / "root")
    spec = Spec("c3d", "fc6", 4, "segment")
    with FeatureWriter(tmp_path / "root", spec) as writer:
        writer.add(block("aaaaaaaaaaa", spec))
    figures = json.loads(reelmill("status", "--root", tmp_path / "root", "--json").stdout)
    assert figures["tables"]["segments"] == 3
    assert figures["stores"] == {spec.name: {"videos": 1, "rows": 3, "dim": 4}}
    assert reelmill("verify", "--root", tmp_path / "root").returncode == 0
    (shard,) = (tmp_path / "root" / "features" / spec.name).iterdir()
    data = bytearray(shard.read_bytes())
    where = data.index(block("aaaaaaaaaaa", spec).features.tobytes())
    data[where] ^= 1
    shard.write_bytes(bytes(data))
    damaged = reelmill("verify", "--root", tmp_path / "root")
    assert damaged.returncode == 1
    assert shard.name in damaged.stdout


def test_readme_lists_every_verb_and_no_other() -> None:
    listed = re.findall(r"^\| `reelmill ([a-z]+)[^|]*\|", README, flags=re.MULTILINE)
    assert sorted(listed) == VERBS


def test_readme_settings_are_settings(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for text in blocks:
        (tmp_path / "settings.yaml").write_text(text)
        assert load(tmp_path / "settings.yaml").source is not None
        assert yaml.safe_load(text)["root"]


def test_text_from_outside_cannot_drive_the_terminal() -> None:
    assert tell.safe("a\x1b[31m[red]b\u202e") == "a\\x1b[31m\\[red]b\\u202e"
