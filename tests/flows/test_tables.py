"""What verbs print for people: no word and no number is cut, however narrow the terminal."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from reelmill.extractors.weights.files import WeightFile, WeightFiles
from reelmill.flows.cli import (
    compact,
    demo,
    doctor,
    export,
    extract,
    floors,
    ingest,
    init,
    plan,
    recommend,
    report,
    retry,
    run,
    serve,
    sql,
    status,
    train,
    verify,
    weights,
)
from reelmill.flows.cli.output import UNBOUNDED, Table
from reelmill.flows.jobs.demo import ControlResult, DemoResult
from reelmill.flows.jobs.doctor import Check, DoctorResult
from reelmill.flows.jobs.extract import ExtractResult
from reelmill.flows.jobs.failures import Failure, Warned
from reelmill.flows.jobs.fits import FitFigures
from reelmill.flows.jobs.floors import FloorsResult
from reelmill.flows.jobs.ingest import DownloadResult, IngestResult
from reelmill.flows.jobs.init import InitResult
from reelmill.flows.jobs.keep import Compacted, CompactResult, Constant, ExportResult, VerifyResult
from reelmill.flows.jobs.places import DataResult
from reelmill.flows.jobs.plan import DownloadPlan, ExtractPlan, PlanResult, StagePlans, StorePlan, TextPlan
from reelmill.flows.jobs.recommend import RecommendResult
from reelmill.flows.jobs.report import ReportResult
from reelmill.flows.jobs.retry import RetryResult
from reelmill.flows.jobs.run import RunResult
from reelmill.flows.jobs.sql import Column, SqlResult
from reelmill.flows.jobs.status import StageStatus, StatusResult, StoreStatus
from reelmill.flows.jobs.steps import SourceResult
from reelmill.flows.jobs.train import TrainResult
from reelmill.models.recommendations import AskedUser, Recommendations
from reelmill.pipeline.dataset import Dataset
from reelmill.pipeline.extract.texts import TextSummary
from reelmill.pipeline.labels import LabelCounts
from reelmill.pipeline.sources import IngestCounts

STORE = "multimodal_extractor-mixed_5c-029d976a"
LONG = "https://example.org/a/very/long/address/that/does/not/end/before/the/terminal/does.mp4?key=value"
MESSAGE = f"HTTP 403: the host refuses {LONG}, and says that it will go on refusing until somebody pays for it"
COUNTS = IngestCounts(
    source="ratings_first487650.dat.gz", rows=12_345_678, events=12_345_000, rejects=1_000_078, videos=1_234_567,
    reasons={"duplicate": 1_000_006, "start_beyond_end": 66, "negative_time": 6}, clipped=1_234, users_written=5,
    conflicting_durations=6, videos_written=7, events_written=True, written=True,
)  # fmt: skip
INGEST = IngestResult(
    SourceResult(True, COUNTS),
    DownloadResult(1_234_000, 567, {"rate_limited": 12_345, "removed": 6, "geo_blocked": 9}),
    LabelCounts(1_234_567, 1_234_000, 123_456_789, 98_765_432, 54_321, 12_345_000, 678, 9, True),
)
TEXT = TextSummary(stores=[STORE], done=24, rows=67_890, without_text=12_345, undated=12, fitted=True)
NO_TEXT = TextSummary(reason="no video has a title, a tag or a description")
EXTRACT = ExtractResult(
    done=1_234_567, skipped=7, failed={"corrupt": 12, "decoder_crash": 1_234}, without=12_345, left=67_890,
    segments=123_456_789, video_seconds=6100.0, seconds=1000.0, stores=[STORE, f"c3d-{STORE}"],
    texts={"text": TEXT, "topics": NO_TEXT},
)  # fmt: skip
METRICS = [
    {"row": row, "metric": name, "mean": 0.12345, "low": 0.1, "high": 0.98765, "cases": 12_345}
    for row in ("random", "most popular", "transgrec")
    for name in ("map", "hr@1", "ndcg@5")
]
FIT, AGAIN = (FitFigures(f"/data/runs/{STORE}", done, METRICS, {}, {"picture": STORE}, {}) for done in (False, True))
DATA = DataResult(Dataset("movielens", [COUNTS], {"picture": STORE}, 3, (MESSAGE,)), {"topics": MESSAGE})
TRAIN = TrainResult(
    {"transgrec": FIT, "multimodal": AGAIN}, {"jifr": MESSAGE}, DATA, "no events: nobody likes anything"
)
RUN = RunResult(INGEST, EXTRACT, TRAIN, ReportResult(LONG, False))
FAILURE = Failure("extract", "dQw4w9WgXcQ", STORE, "decoder_crash", True, MESSAGE, "2026-11-30")
STATUS = StatusResult(
    root="/a/root/of/some/length",
    stages={"download": StageStatus("videos", 1_234_567, 12_345, 678)},
    stores={STORE: StoreStatus(1_234_567, "users", 1, 2, 98_765, 4_096)},
    failures={f"extract {STORE}: decoder_crash": 1_234},
    examples={f"extract {STORE}: decoder_crash": ["dQw4w9WgXcQ", "jNQXAC9IVRw", LONG]},
    newest_failures=[FAILURE] * 12,
    tables={"videos": 1_234_567, "events": 123_456_789},
    warnings=[Warned("facts", "dQw4w9WgXcQ", "frame_rate", MESSAGE, "2026-11-30")] * 12,
)
PLAN = PlanResult(
    "/root",
    StagePlans(
        DownloadPlan(1_234_567, 9_900_000_000_000, None),
        ExtractPlan(1_234_567, 12_345, 67_890, 1_234_567_890, 5, 6.0, 335_000, 7, 12.3, 12_345.0,
                    {STORE: StorePlan(1_234_567, 7, 123_456_789, 98_765)}),
        {"topics": TextPlan(1_234_567, 0, False)},
        {"transgrec": {}, "multimodal": {}},
    ),
    12_345.0, 335_000, "2026-12-01T10:00:00+00:00", True, MESSAGE,
)  # fmt: skip
SEGMENT = {
    "rank": 10, "video_id": "dQw4w9WgXcQ", "title": "A title of many words, which goes on and on until it ends",
    "segment_index": 123, "clock": "1:02:03–1:02:08", "score": 12.345, "new": True,
    "why": {"similarity": 0.71, "nearest_liked": [{"video_id": "jNQXAC9IVRw", "clock": "0:05", "cosine": 0.93}]},
}  # fmt: skip
ANSWER = Recommendations(
    f"transgrec-{STORE}", "transgrec", AskedUser("13000", False, MESSAGE), None, "segment", [SEGMENT], 123_456,
    {"videos marked": 1_234}, [MESSAGE], {"rating": 0.412, "new": False},
)  # fmt: skip
DEPLOYED = [
    SimpleNamespace(
        deployment=f"reelmill-run/{STORE}", schedule="0 2 * * *", timezone="America/Argentina/Buenos_Aires"
    ),
    SimpleNamespace(deployment="reelmill-train/data", schedule=None, timezone="UTC"),
]
WEIGHTS = WeightFile(
    name="c3d-sports1m", extractor="c3d", file=f"/home/somebody/{STORE}/c3d.pickle", path=Path("c3d.pickle"),
    state="wrong", expected="0" * 64, found="1" * 64, url=None, size=None, pixels=None, non_commercial=True,
    licence="CC BY-NC 3.0: not for commercial use", citation="", note="",
)  # fmt: skip
PRINTED: dict[str, tuple[Callable[[Console, Any], None], Any]] = {
    "ingest": (ingest.render, INGEST),
    "extract": (extract.render, EXTRACT),
    "train": (train.render, TRAIN),
    "report": (report.render, RUN.page),
    "run": (run.render, RUN),
    "demo": (demo.render, DemoResult(RUN, ControlResult(INGEST, TRAIN), STATUS.stores)),
    "floors": (floors.render, FloorsResult(METRICS, [], METRICS, {}, DATA)),
    "plan": (plan.render, PLAN),
    "status": (status.render, STATUS),
    "retry": (retry.render, RetryResult([], {f"extract {STORE}": 12_345}, {f"extract {STORE}": 45}, False, "x")),
    "verify": (verify.render, VerifyResult(
        {STORE: [MESSAGE]}, {"events": []}, {}, {STORE: Constant(12_345, ["a", "b"])}, {STORE: ["v", "w"]}, False,
        [LONG], [f"reelmill backfill SETTINGS --extractor {STORE}"], {"v": MESSAGE}, 2,
    )),
    "compact": (compact.render, CompactResult({STORE: Compacted(12_345, 12, 6_789)}, {}, True)),
    "export": (export.render, ExportResult(STORE, LONG, "hdf5", 12_345, 67, False)),
    "sql": (sql.render, SqlResult([Column("video_id", "VARCHAR"), Column("n", "BIGINT")], [[LONG, 123_456_789]])),
    "doctor": (doctor.render, DoctorResult([
        Check("packages", "ok", "26 fit"),
        Check("weights i3d_r50", "warning", "i3d-r50-kinetics400 is not here",
              "`reelmill weights fetch i3d-r50-kinetics400 --sha256 HASH`, or set weights: random"),
    ], 0)),
    "weights": (weights.render, WeightFiles(Path("/home/somebody/.cache/reelmill/weights"), [WEIGHTS])),
    "recommend": (recommend.render, RecommendResult(ANSWER)),
    "serve": (serve.render, SimpleNamespace(work_pool="a-pool", deployments=DEPLOYED)),
    "init": (init.render, InitResult(
        "settings.yaml", LONG, "mapped", {"user_id": STORE, "start_ms": "a column of many words"},
        {"user_id": "by its name", "start_ms": "by its name, in milliseconds"}, [], [LONG, STORE], False,
        [f"user 13000: highlight of {LONG}, 79.99–84.13 s"], 8_991, 8_894, 4_996, {"unknown_duration": 97}, [MESSAGE],
    )),
}  # fmt: skip
"""{verb: (how it prints, a result)}: large numbers, long names and messages."""


def printed(render: Callable[[Console, Any], None], figures: Any, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    render(out, figures)
    return out.file.getvalue().splitlines()


def words(lines: list[str]) -> set[str]:
    """Every word and number, without the headings, which a narrow terminal shows in front of each cell."""
    headings = {number - 1 for number, line in enumerate(lines) if line.strip("─ ") == "" and "─" in line}
    kept = [line for number, line in enumerate(lines) if number not in headings and "─" not in line]
    return {word for line in kept for word in line.split()}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("verb", PRINTED)
def test_no_word_and_no_number_is_cut(verb: str, width: int) -> None:
    render, figures = PRINTED[verb]
    whole, narrow = printed(render, figures, UNBOUNDED), printed(render, figures, width)
    lost = words(whole) - {word for line in narrow for word in line.split()}
    if verb == "doctor":  # its last column breaks long words, and loses none of their letters
        text = "".join("".join(narrow).split())
        lost = {word for word in lost if word not in text and len(word) < 20}
    assert not lost
    assert not any(line != line.rstrip() for line in narrow)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_stay_inside_the_terminal(width: int) -> None:
    """A word that is longer than the terminal is left to it; nothing else goes over its edge."""
    table = Table("name", "count", "note", numbers=(1,))
    for number in range(5):
        table.add(f"name-{number}" * (number + 1), f"{10 ** (3 * number):,}", "some words of a note " * number)
    lines = printed(lambda out, _: table.print(out), None, width)
    longest = max(cell_len(cell.plain) for row in table.rows for cell in row[:1])
    assert max(cell_len(line) for line in lines) <= max(width, longest + 10)
    assert len({line.index("─") for line in lines if "─" in line}) <= 1


def test_a_narrow_terminal_gets_a_block_a_row() -> None:
    table = Table("store", "rows", "", numbers=(1,))
    table.add("a" * 30, "1,234,567", "whole")
    table.add("b", "", "[bold]empty[/] cells are left out")
    lines = printed(lambda out, _: table.print(out), None, 36)
    assert lines == [
        "",
        f"  store: {'a' * 30}",
        "    rows: 1,234,567",
        "    whole",
        "  store: b",
        "    empty cells are left out",
        "",
    ]  # fmt: skip


def test_wide_letters_are_counted_as_the_terminal_shows_them() -> None:
    table = Table("video", "title")
    table.add("v1", "日本語の題名")
    table.add("v2", "plain")
    lines = printed(lambda out, _: table.print(out), None, 40)
    assert [cell_len(line[: line.index(word)]) for line, word in zip(lines[3:5], ("日", "plain"), strict=True)] == [
        9,
        9,
    ]
