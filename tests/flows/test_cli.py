"""The command as a person meets it: results on stdout, the rest on stderr, errors in one message."""

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from reelmill.flows import progress
from reelmill.flows.cli import main as cli
from reelmill.flows.cli import status as status_verb
from reelmill.flows.cli import train as train_verb
from reelmill.flows.jobs import fits, steps
from reelmill.flows.jobs.results import plain
from reelmill.flows.jobs.run import NOTHING
from reelmill.flows.jobs.status import status
from reelmill.flows.progress import safe
from reelmill.flows.settings.load import load
from reelmill.models.report.page import write_report
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.demo.corpus import write_source
from reelmill.pipeline.demo.planted import CorpusPlan
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage import FeatureWriter, Outcome, Outcomes, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import Block
from tests.media import make_video

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
    command = [sys.executable, "-c", "from reelmill.flows.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ, **env}, check=False)


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
        (
            ["label", "x.csv", "--format", "phd"],
            "--format 'phd': a table of who liked what is one of phd2, movielens, mapped",
        ),
        (["label", "x", "--format", "folder"], "is one of phd2, movielens, mapped"),
        (["status", "--root", "/none"], "error: root '/none' is not a folder"),
        (["run", "none.yaml"], "error: settings file none.yaml does not exist; `reelmill settings"),
        (["run"], "error: no settings and no root: give SETTINGS or --root"),
        (["label"], "Missing argument"),
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
    store = {"videos": 1, "of": "videos", "missing": 0, "failed": 0, "rows": 3, "dim": 4}
    assert figures["stores"] == {spec.name: store}
    assert reelmill("verify", "--root", tmp_path / "root").returncode == 0
    (shard,) = (tmp_path / "root" / "features" / spec.name).iterdir()
    data = bytearray(shard.read_bytes())
    where = data.index(block("aaaaaaaaaaa", spec).features.tobytes())
    data[where] ^= 1
    shard.write_bytes(bytes(data))
    damaged = reelmill("verify", "--root", tmp_path / "root")
    assert damaged.returncode == 1
    assert shard.name in damaged.stdout


def test_text_from_outside_cannot_drive_the_terminal() -> None:
    assert safe("a\x1b[31m[red]b\u202e") == "a\\x1b[31m\\[red]b\\u202e"


@pytest.mark.parametrize("terminal", [False, True])
def test_notes_are_shown_as_they_are(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=terminal, width=150)
    monkeypatch.setattr(progress, "console", out)
    with progress.shown() as reporter:
        reporter.start("download", 1, items=1)
        reporter.advance("download", note="b[/b]x\x1b[31m")
        reporter.say("[/b]\x07")
    text = out.file.getvalue()
    assert "b[/b]x\\x1b[31m" in text
    assert "[/b]\\x07" in text
    assert "\x1b[31m" not in text


def test_status_counts_what_is_missing_per_stage_and_store(tmp_path: Path) -> None:
    """A store of posts is one of users: those with posts that have a time, whether or not they are videos."""
    clips = [make_video(tmp_path / f"{name}.mp4", frames=5) for name in "ab"]
    tables, root = Tables(tmp_path), str(tmp_path)
    tables.write("videos", [{"video_id": clip.stem, "url": str(clip)} for clip in clips])
    tables.write("videos", [{"video_id": "gone", "url": str(tmp_path / "gone.mp4")}])
    fetch_media(root, missing_media(root), DownloadOptions(), Limits())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    tables.write("events", [
        {"user_id": user, "video_id": "", "kind": "post", "time": time, "source": "s", "source_row": row}
        for row, (user, time) in enumerate([("u", now), ("u", now), ("w", now), ("undated", None)])
    ])  # fmt: skip
    segments, posts = Spec("c3d", "fc6", 4, "segment"), Spec("post_topics", "lda", 4, "post")
    for spec, key in ((segments, "a"), (posts, "u")):
        with FeatureWriter(tmp_path, spec) as writer:
            writer.add(block(key, spec))
    failed = Outcome("extract", "b", "failed", spec=segments.name, error_class="corrupt", permanent=True)
    Outcomes(tmp_path).write([failed])
    result = status(root)
    figures = plain(result)
    assert figures["stages"]["download"] == {"of": "videos", "done": 2, "missing": 1, "failed": 1}
    found = {
        name: [one[key] for key in ("of", "videos", "missing", "failed")] for name, one in figures["stores"].items()
    }
    assert found == {segments.name: ["videos", 1, 1, 1], posts.name: ["users", 1, 1, 0]}
    assert figures["examples"] == {"download: not_found": ["gone"], f"extract {segments.name}: corrupt": ["b"]}
    out = Console(file=io.StringIO(), width=80)
    status_verb.render(out, result)
    assert f"{posts.name} (users)" in out.file.getvalue()


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> int | str | None:
    """Exit status of the command when the work ends with this error."""

    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr("reelmill.flows.jobs.status.status", fail)
    monkeypatch.setattr(sys, "argv", ["reelmill", "status", "--root", ".", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, KeyboardInterrupt()) == 130
    assert "run the same command to go on" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(28, "No space left on device", "/x/part"), 1, "No space left on device: /x/part"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied: /x"),
        (InputError("a [b] rule"), 2, "a [b] rule"),
    ],
)
def test_errors_are_one_message_and_one_object(
    error: Exception, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, error, "--json") == status
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": {"class": type(error).__name__, "message": message}}
    assert f"error: {message}" in told.err


def test_status_lists_the_newest_failures(tmp_path: Path) -> None:
    outcomes = [
        Outcome("download", "back", "failed", error_class="network", permanent=False, message="reset"),
        Outcome("download", "gone", "failed", error_class="removed", permanent=True, message="404 [/b]\nmore"),
        Outcome("extract", "odd", "failed", spec="c3d-fc6-0", error_class="unknown", permanent=False,
                message='Traceback (most recent call last):\n  File "x"\nKeyError: 1'),
        Outcome("probe", "mended", "failed", error_class="corrupt", permanent=True, message="bad"),
        Outcome("download", "back", "done"),
        Outcome("download", "mended", "done"),
    ]  # fmt: skip
    for outcome in outcomes:
        Outcomes(tmp_path).write([outcome])
    result = status(str(tmp_path))
    figures = plain(result)
    assert figures["failures"] == {"download: removed": 1, "extract c3d-fc6-0: unknown": 1}
    found = {f["key"]: (f["class"], f["permanent"], f["message"]) for f in figures["newest_failures"]}
    assert found == {"gone": ("removed", True, "404 [/b]"), "odd": ("unknown", False, "KeyError: 1")}
    out = Console(file=io.StringIO(), width=150)
    status_verb.render(out, result)
    assert "404 [/b]" in out.file.getvalue()
    assert figures["examples"]["download: removed"] == ["gone"]


def test_status_and_report_show_warnings(tmp_path: Path) -> None:
    """A file whose facts contradict each other is done, not failed; a newer measurement takes the warning back."""
    log = Outcomes(tmp_path)
    log.write([Outcome("facts", "odd", "warned", error_class="frame_rate", message="150 frames are 12.500 a second")])
    log.write([Outcome("facts", "mended", "warned", error_class="length", message="before")])
    log.write([Outcome("facts", "mended", "done")])
    result = status(str(tmp_path))
    figures = plain(result)
    assert (figures["failures"], figures["newest_failures"]) == ({}, [])
    (warned,) = figures["warnings"]
    assert (warned["key"], warned["class"], warned["message"]) == (
        "odd",
        "frame_rate",
        "150 frames are 12.500 a second",
    )
    out = Console(file=io.StringIO(), width=150)
    status_verb.render(out, result)
    assert "150 frames are 12.500 a second" in out.file.getvalue()
    page = write_report(tmp_path, tmp_path / "r.html", title="").read_text()
    assert "150 frames are 12.500 a second" in page
    assert "used all the same" in page


def test_rows_that_were_replaced_are_not_counted(tmp_path: Path) -> None:
    spec = Spec("c3d", "fc6", 4, "segment")
    for videos in ("ab", "bc"):
        with FeatureWriter(tmp_path, spec) as writer:
            for video in videos:
                writer.add(block(video, spec))
    assert len(list((tmp_path / "features" / spec.name).iterdir())) == 2
    found = plain(status(str(tmp_path)))["stores"][spec.name]
    assert (found["videos"], found["rows"], found["dim"]) == (3, 9, 4)


def test_train_takes_the_store_of_these_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [Spec("c3d", "fc6", 4, "segment", weights=weights) for weights in ("old", "new")]
    for spec in specs:
        with FeatureWriter(tmp_path, spec) as writer:
            writer.add(block("v", spec))
    chosen = load(None, [f"root={tmp_path}"])
    assert not steps.has_events(chosen)
    for spec in specs:
        assert fits.whole_names(chosen, "transgrec", [spec.name, "vgg19-fc7-0"]) == {"features": spec.name}
    with pytest.raises(InputError, match=r"'c3d-fc6' of transgrec \(features\) is ambiguous: c3d-fc6-.*, c3d-fc6-"):
        fits.whole_names(chosen, "transgrec")
    with pytest.raises(InputError, match=r"'vgg19-fc7' of jifr \(frames\) is not there; the root has c3d-fc6-"):
        fits.whole_names(fits.choose(chosen, ["jifr"]), "jifr")


def test_floors_of_a_published_table(tmp_path: Path) -> None:
    table = write_source(CorpusPlan(), tmp_path / "likes.csv")
    ended = reelmill("floors", "--root", tmp_path / "root", "--data", table)
    assert ended.returncode == 0, ended.stderr
    for line in ("last video of users with five", "what the source marks as last", "early first", "highlight_ap"):
        assert line in ended.stdout
    figures = json.loads(reelmill("floors", "--root", tmp_path / "root", "--json").stdout)
    assert {row["row"] for row in figures["rows"]} == {"random", "smooth random", "early first"}
    nothing = reelmill("floors", "--root", tmp_path)
    assert (nothing.returncode, "has no labels" in nothing.stderr) == (2, True)


def test_a_run_without_events_is_told() -> None:
    out = Console(file=io.StringIO(), width=150)
    train_verb.render(out, NOTHING)
    assert "skipped, no events" in out.file.getvalue()
