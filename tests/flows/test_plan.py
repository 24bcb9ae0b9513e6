"""What a plan says against what is then there: cells, rows, windows and bytes exactly or nearly, seconds roughly."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from reelmill.extractors.video import c3d_network
from reelmill.flows.cli import plan as plan_verb
from reelmill.flows.cli.main import app
from reelmill.flows.jobs import steps
from reelmill.flows.jobs.plan import plan
from reelmill.flows.jobs.results import plain
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.planning.cost import facts_of, windows_of
from reelmill.pipeline.planning.rates import Rates, label
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Tables, open_store
from tests.roots import settings, with_videos

C3D = "extract.extractors={c3d: {weights: random, layers: [fc6, conv5], windows: 2}, logmel: {}, spectrogram: {}}"


def size(root: Path, *folders: str) -> int:
    """Bytes under some folders of a root."""
    return sum(path.stat().st_size for folder in folders for path in (root / folder).rglob("*") if path.is_file())


def work(chosen: Settings) -> dict[str, int]:
    """Extract everything, as a task of the flow does; the windows that each network saw."""
    networks = steps.extractors(chosen)
    todo = steps.extract_plan(chosen, networks)
    return steps.extract_block(chosen, todo, steps.have_pictures(chosen)).windows


@pytest.mark.parametrize(("rows", "format"), [("segment", "hdf5"), ("window", "parquet")])
def test_rows_windows_and_bytes_are_those_that_are_then_there(
    tmp_path: Path, thin: None, rows: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Videos of 0.4 to 14 s, three networks with four stores."""
    thinner = replace(c3d_network.C3D.about, layers={"fc6": 8, "fc7": 8, "conv5": 4})
    monkeypatch.setattr(c3d_network.C3D, "about", thinner)
    root = with_videos(tmp_path, (10, 130, 350))
    chosen = settings(root, C3D, f"extract.rows={rows}", f"extract.format={format}", "extract.thumbnail_height=32")
    found = plain(plan(chosen, stages=("extract",)))["stages"]["extract"]
    assert (found["videos"], found["frames"], found["segments"], found["seconds"]) == (3, 490, 6, None)
    networks, facts = steps.extractors(chosen), facts_of(str(root))
    expected = {n.name: sum(windows_of(n, fact, 5000) for fact in facts.values()) for n in networks}
    assert work(chosen) == expected
    for name, cells in found["stores"].items():
        store = open_store(root, name)
        stored = sum(len(store.read(video).features) for video in store.keys())  # noqa: SIM118
        assert (cells["there"], cells["videos"], cells["rows"]) == (0, 3, stored)
        if format == "hdf5":  # what is not vectors is known to some kB
            there = size(root, f"features/{name}")
            assert abs(cells["bytes"] - there) < 0.02 * there + 8000, name
    again = plain(plan(chosen, stages=("extract",)))["stages"]["extract"]
    assert (again["videos"], again["bytes"], again["seconds"]) == (0, 0, 0)
    assert {cells["there"] for cells in again["stores"].values()} == {3}


def test_a_plan_writes_nothing_and_knows_what_was_measured(tmp_path: Path) -> None:
    root = with_videos(tmp_path, (50, 50, 50))
    chosen = settings(root)
    before = sorted(root.rglob("*"))
    assert plan(chosen).seconds is None
    measured = plain(plan(chosen, calibrate=True, stages=("extract",)))
    assert measured["seconds"] > 0
    assert sorted(root.rglob("*")) == before
    networks = steps.extractors(chosen)
    todo, _ = steps.selected(chosen, steps.extract_plan(chosen, networks), Selection(limit=1))
    steps.extract_block(chosen, todo, set())
    found = plain(plan(chosen, Selection(limit=1), ("extract",)))
    assert found["seconds"] > 0
    assert (found["stages"]["extract"]["videos"], found["stages"]["extract"]["left"]) == (1, 1)
    rates = Rates.read(str(root))
    assert {part for _, part in rates.measured} == {label(networks[0]), "decode", "wait", "begin", "rest"}


def test_how_long_parts_take_together(tmp_path: Path) -> None:
    """Where the same set has run, each part grows with its amount. Where it has not, decoding hides behind networks,
    or is what they wait for. What was never measured is not guessed."""
    rates = Rates()
    rates.add("a on cpu", [("a", 10, 20), ("decode", 100, 10), ("wait", 50, 5), ("begin", 1, 3), ("rest", 50, 1)])
    rates.add("b on cpu", [("b", 10, 1), ("decode", 100, 10), ("wait", 50, 9), ("begin", 1, 3), ("rest", 50, 1)])
    amounts = {"decode": 1000.0, "wait": 500.0, "begin": 2.0, "rest": 500.0}
    assert rates.seconds("a on cpu", {"a": 100, **amounts}) == pytest.approx(200 + 50 + 6 + 10)
    assert rates.seconds("a + b on cpu", {"a": 100, "b": 100, **amounts}) == pytest.approx(200 + 10 + 6 + 10)
    assert rates.seconds("b + c on cpu", {"b": 10, **amounts}) == pytest.approx(100 + 6)
    assert rates.seconds("b + c on cpu", {"b": 10, **amounts}, workers=4) == pytest.approx(25 + 6)
    assert rates.seconds("c on cpu", {"c": 10, **amounts}) is None
    for _ in range(20):  # the newest count
        rates.add("a on cpu", [("a", 10, 10)])
    assert rates.rate("a", "a on cpu") == 1


def told(*arguments: str | Path) -> dict[str, Any]:
    ended = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def test_dry_runs_say_what_each_verb_would_do_and_do_nothing(tmp_path: Path) -> None:
    root = with_videos(tmp_path, (30, 30), likes=(0, 2))
    clip = tmp_path / "v1.mp4"
    row = {"video_id": "new", "url": str(clip), "claimed_duration_ms": 12_000, "title": "a cat"}
    Tables(root).write("videos", [row])
    text = f"root: root\nsource: {{path: {clip}, format: folder}}\nextract: {{extractors: {{logmel: , topics: }}}}\n"
    text += "train: {models: {transgrec: {stores: logmel}}}\n"
    (tmp_path / "s.yaml").write_text(text)
    before, file = sorted(root.rglob("*")), tmp_path / "s.yaml"
    whole = told("run", file, "--dry-run")
    assert list(whole["stages"]) == ["download", "extract", "texts", "train"]
    assert (whole["stages"]["download"]["videos"], whole["stages"]["train"]) == (1, {"transgrec": "logmel"})
    extract = whole["stages"]["extract"]
    assert (extract["videos"], extract["not_fetched"], extract["segments"]) == (3, 1, 5)
    assert whole["stages"]["texts"] == {"topics": {"missing": 3, "there": 0, "fitted": False}}
    assert list(told("ingest", file, "--dry-run")["stages"]) == ["download"]
    assert told("extract", file, "--dry-run")["stages"]["extract"]["videos"] == 2
    chosen = told("backfill", file, "--dry-run", "--limit", "1", "--extractor", "spectrogram")["stages"]
    assert (chosen["extract"]["videos"], chosen["texts"]) == (1, {})
    assert next(iter(chosen["extract"]["stores"])).startswith("spectrogram-parts-")
    assert told("train", "jifr", file, "--dry-run")["stages"] == {"train": {"jifr": {}}}
    assert sorted(root.rglob("*")) == before
    out = Console(file=io.StringIO(), width=80)
    read = whole.pop("preview")
    assert (read["videos"], read["first_events"]) == (1, ["v1.mp4"])
    result = replace(plan(load(file)), dry_run=True, source=whole["source"])
    assert {**plain(result), "finish": whole["finish"]} == whole
    plan_verb.render(out, result)
    text = out.file.getvalue()
    assert "1 not fetched yet" in text
    assert "nothing was done (--dry-run)" in text
    assert max(map(len, text.splitlines()[1:])) <= 80  # after the path of the source


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0, "0 s"), (3.24, "3.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"),
     (270_000, "3 days 3 h")],
)  # fmt: skip
def test_times_and_sizes_are_words(seconds: float | None, text: str) -> None:
    assert plan_verb.lasting(seconds) == text
    assert [plan_verb.amount(count) for count in (None, 12, 1234, 250_000, 3_100_000_000, 5e12)] == [
        "?", "12 bytes", "1.2 kB", "250 kB", "3.1 GB", "5.0 TB",
    ]  # fmt: skip
