"""A backfill does exactly what is missing of what was asked for, in order, and stops without losing a block."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.backfill import narrowed
from reelmill.pipeline.extract.videos import extract_missing
from reelmill.pipeline.planning.select import Selection, ordered
from reelmill.storage import Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.parts import list_parts
from tests.roots import settings, with_videos

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of 2 to 7 s; v4 has most labels, then v2; v0 was fetched first, v5 last."""
    root = with_videos(tmp_path_factory.mktemp("backfill"), (50, 75, 100, 125, 150, 175), likes=(1, 0, 3, 1, 5, 0))
    rows = Tables(root).read("media").to_pylist()
    for row in rows:
        row["fetched_at"] = DAY + timedelta(days=int(row["video_id"][1:]))
    Tables(root).write("media", rows)
    return root


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), "v4 v2 v3 v0 v5 v1"),
        (Selection(order="newest"), "v5 v4 v3 v2 v1 v0"),
        (Selection(order="shortest"), "v0 v1 v2 v3 v4 v5"),
        (Selection(order="any"), "v0 v1 v2 v3 v4 v5"),
        (Selection(since="2026-01-04"), "v4 v3 v5"),
        (Selection(since="2026-01-04T00:00:01"), "v4 v5"),
        (Selection(where="uploader = 'by v2' or duration_ms >= 6000"), "v4 v2 v5"),
        (Selection(where="labels > 0 and not tags = 'v4'"), "v2 v3 v0"),
        (Selection(where="uploader like 'by v_' and fetched_at < '2026-01-02' and variable_rate = false"), "v0"),
        (Selection(where="title is null and video_id not in ('v0', 'v1') and events = 0"), "v5"),
        (Selection(where="tags in ('v1', 'v3') and tags != 'v1'"), "v3"),
        (Selection(where="title = 'x' or not title = 'x'"), ""),
    ],
)
def test_which_videos_and_in_which_order(root: Path, selection: Selection, wanted: str) -> None:
    assert " ".join(ordered(str(root), selection)) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"where": "uploder = 'x'"}, r"column 'uploder': did you mean 'uploader'\?"),
        ({"where": "uploader = 5"}, r"expected a text in single quotes, since uploader is string at '5'"),
        ({"where": "duration_ms > 'x'"}, "expected a number, since duration_ms is int64"),
        ({"where": "uploader = 'x"}, "neither a column, a number, nor a text in single quotes"),
        ({"where": "(labels > 1"}, r"expected `\)` at its end"),
        ({"where": "labels > 1 labels < 3"}, "expected `and`, `or` or the end at 'labels'"),
        ({"where": "__import__('os').system('x')"}, r"at \".system"),
        ({"where": "labels > 1; drop"}, "at '; drop'"),
        ({"where": "("* 60 + "labels > 1" + ")" * 60}, "more than 50 nested brackets"),
        ({"where": "labels > 99999999999999999999"}, "99999999999999999999"),
        ({"where": "fetched_at > 'yesterday'"}, "'yesterday' for fetched_at"),
        ({"since": "yesterday"}, "--since 'yesterday': give a day or a time"),
        ({"limit": 0}, "--limit 0: at least one video"),
        ({"order": "label"}, "did you mean 'labels'"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told(root: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ordered(str(root), Selection(**given))


def test_only_the_cells_that_lack_are_selected(root: Path, tmp_path: Path) -> None:
    chosen = settings(root, "extract.extractors={logmel: {}, c3d: {weights: random}, topics: {}}")
    assert list(narrowed(chosen, ["logmel", "spectrogram"], Selection(limit=1)).extract.extractors) == [
        "logmel", "spectrogram",
    ]  # fmt: skip
    assert list(narrowed(chosen, [], Selection(limit=1)).extract.extractors) == ["logmel", "c3d"]
    assert list(narrowed(chosen, [], Selection()).extract.extractors) == ["logmel", "c3d", "topics"]
    assert narrowed(chosen, ["c3d"], Selection()).extract.extractors["c3d"].weights == "random"
    for names, message in ((["c3dd"], "did you mean 'c3d'"), (["topics"], "reads all texts of the root")):
        with pytest.raises(InputError, match=message):
            narrowed(chosen, names, Selection(limit=1))


def test_a_limit_counts_videos_that_lack_something(tmp_path: Path) -> None:
    root = with_videos(tmp_path, likes=(0, 1, 2, 3, 4))
    chosen = settings(root)
    networks, options = steps.extractors(chosen), steps.extract_options(chosen)
    for expected in (["v4", "v3"], ["v2", "v1"], ["v0"], []):
        todo, left = steps.selected(chosen, steps.extract_plan(chosen, networks), Selection(limit=2))
        assert [video.video_id for video, _ in todo] == expected
        assert left == len(steps.extract_plan(chosen, networks)) - len(expected)
        extract_missing(str(root), todo, networks, options)
    (name,) = steps.spec_names(chosen, networks)
    assert open_store(root, name).keys() == ["v0", "v1", "v2", "v3", "v4"]


def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
    # A shell's background jobs ignore Ctrl-C, and their children inherit that.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from reelmill.flows.cli.main import main; main()"
    command = [sys.executable, "-c", code, "backfill", str(file), *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(root: Path, tmp_path: Path) -> None:
    """A process is interrupted after its first block; what it finished is the head of the order. The next one does the
    others, each once."""
    text = {"root": str(root), "extract": {"block": 1, "thumbnail_height": 0, "extractors": {"logmel": {}}}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(text))
    features, asked = root / "features", ("--where", "duration_ms > 2500", "--extractor", "spectrogram")
    first = start(tmp_path / "settings.yaml", *asked)
    while not (done := [p for folder in features.glob("*") for p in list_parts(folder)]):
        assert first.poll() is None, first.communicate()[1][-2000:]
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    told = first.communicate(timeout=300)
    assert first.returncode == 130, told[1][-2000:]
    assert "run the same command to go on" in " ".join(told[1].split())
    (folder,) = features.glob("*")
    assert folder.name.startswith("spectrogram")
    kept = open_store(root, folder.name).keys()
    assert set(kept) < {"v1", "v2", "v3", "v4", "v5"}
    assert kept == sorted(["v4", "v2", "v3", "v5", "v1"][: len(kept)])
    second = start(tmp_path / "settings.yaml", *asked)
    out, err = second.communicate(timeout=500)
    assert second.returncode == 0, err[-2000:]
    figures = json.loads(out)
    assert (figures["done"], figures["failed"], figures["left"]) == (5 - len(kept), {}, 1)
    store = open_store(root, folder.name)
    assert store.keys() == ["v1", "v2", "v3", "v4", "v5"]
    assert sorted(video for shard in store.shards for video in shard.video_ids) == store.keys()
    assert set(done) <= set(list_parts(folder))
