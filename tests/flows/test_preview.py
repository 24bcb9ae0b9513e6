"""Dry runs read the source: what each column became, and the same refusals as of the run itself."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reelmill.flows.cli.main import app
from reelmill.storage.errors import InputError
from tests.flows.test_plan import told

TABLE = "who;clip;from;to;when\nann;a;0:02;0:09;1583378629123\nbob;a;5;;1583378629124\ncid;b;x;9;1583378629125\n"
MAPPING = "{user_id: who, video_id: clip, start_s: from, stop_s: to, time: when}"


def settings(folder: Path, mapping: str = MAPPING, table: str = TABLE) -> Path:
    (folder / "t.csv").write_text(table)
    file = folder / "s.yaml"
    stages = "extract: {extractors: {c3d: {weights: random}}}\ntrain: {models: {transgrec: {stores: c3d}}}\n"
    file.write_text(f"root: root\nsource: {{path: t.csv, mapping: {mapping}}}\n{stages}")
    return file


def refusal(*arguments: str | Path) -> str:
    ended = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(ended.exception, InputError), ended.output
    return str(ended.exception)


def test_a_dry_run_shows_the_first_rows_as_they_are_understood(tmp_path: Path) -> None:
    file = settings(tmp_path)
    found: dict[str, Any] = told("ingest", file, "--dry-run")["preview"]
    assert found["understood"] == {
        "file": "separator semicolon (found), UTF-8, names in the first line", "time": "Unix milliseconds",
    }  # fmt: skip
    assert found["columns"] == {
        "user_id": "who", "video_id": "clip", "start_s": "from", "stop_s": "to", "time": "when",
    }  # fmt: skip
    first, second, third = found["first_rows"]
    assert first["cells"] == {
        "user_id": "ann", "video_id": "a", "start_s": "0:02", "stop_s": "0:09", "time": "1583378629123",
    }  # fmt: skip
    assert first["becomes"] == "user ann: highlight of a, 2–9 s, at 2020-03-05 03:23"
    assert second["becomes"] == "rejected: missing_time (stop)"
    assert third["becomes"] == "rejected: unparsable_number (from=x)"
    assert (found["rows"], found["events"], found["rejected"], found["videos_without_events"]) == (
        3, 1, {"missing_time": 1, "unparsable_number": 1}, 1,
    )  # fmt: skip
    assert not (tmp_path / "root" / "tables").exists()
    shown = CliRunner().invoke(app, ["ingest", str(file), "--dry-run"], env={"COLUMNS": "200"}).output
    for line in (
        "file: separator semicolon (found)",
        "Unix milliseconds",
        "user_id 'ann', video_id 'a', start_s '0:02'",
        "→ user ann: highlight of a, 2–9 s",
        "3 rows: 1 events, 1 videos; rejected: 1 missing_time",
    ):
        assert line in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping": "{user_id: who, video_id: clip, stop_s: to}"}, "needs a start"),
        ({"mapping": "{user_id: whom, video_id: clip}"}, "no column 'whom'"),
        ({"table": "who,clip\nann,a\n", "mapping": "{user_id: who, video_id: clip, time: clop}"}, "no column 'clop'"),
    ],
)
def test_dry_runs_refuse_what_runs_refuse(tmp_path: Path, change: dict[str, str], message: str) -> None:
    file = settings(tmp_path, **change)
    said = {refusal(verb, file, *dry) for verb in ("run", "ingest") for dry in ((), ("--dry-run",))}
    assert len(said) == 1
    assert message in said.pop()


@pytest.mark.parametrize("line", ["dan;a;1;2;1583378629", "dan;a;1;2;20200705"])
def test_what_only_the_rows_tell_is_refused_too(tmp_path: Path, line: str) -> None:
    """Half of the times are of another unit."""
    file = settings(tmp_path, table=TABLE + f"{line}\n" * 3)
    said = {refusal("ingest", file, *dry) for dry in ((), ("--dry-run",))}
    assert len(said) == 1
    assert "must hold times of one unit" in said.pop()


def test_a_dry_run_refuses_a_store_that_nothing_writes(tmp_path: Path) -> None:
    file = settings(tmp_path)
    file.write_text(file.read_text().replace("stores: c3d", "stores: i3d"))
    assert "is not among what extract will write" in refusal("run", file, "--dry-run")
