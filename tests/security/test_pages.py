"""What came from outside on pages and screens, and names that are typed: text, and nothing that acts."""

import errno
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from reelmill.flows.cli import recommend as recommend_verb
from reelmill.flows.cli import status as status_verb
from reelmill.flows.cli import train as train_verb
from reelmill.flows.cli import verify as verify_verb
from reelmill.flows.cli.main import app
from reelmill.models.core import charts
from reelmill.models.fit import train
from reelmill.models.recommendations import recommend
from reelmill.models.report.page import write_report
from reelmill.models.runs import find_run
from reelmill.pipeline import labels
from reelmill.pipeline.highlight import write_highlight
from reelmill.storage import Outcome, Outcomes, Spec, Tables, open_store
from reelmill.storage.errors import InputError, ReelmillError
from reelmill.storage.export import export
from reelmill.storage.features import verify
from tests.models.test_report import Page

EVIL = "</text></title></style><script>alert(1)</script><img src=x onerror=alert(2)>' onload='alert(3)\" javascript:x"
SCREEN = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b1m\r\x08\u202e[bold red]x[/] [link=http://evil]y[/link]"
WILD = f"{EVIL} {SCREEN} &lt;i&gt; $x^2$ \\frac{{1}}{{2}} {{{{ 7*7 }}}} {{% raw %}}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root in which everything that others wrote is hostile."""
    root = tmp_path / "root"
    tables = Tables(root)
    tables.write("videos", [{"video_id": WILD, "title": WILD, "url": "javascript:alert(1)", "uploader": WILD,
                             "description": WILD, "tags": [WILD], "claimed_duration_ms": 20_000}])  # fmt: skip
    tables.write("events", [
        {"user_id": f"{WILD}{n}", "video_id": WILD, "kind": "highlight", "start_ms": 0, "stop_ms": 9000,
         "source": WILD, "source_row": n, "text": WILD} for n in range(1, 4)
    ])  # fmt: skip
    tables.write("rejects", [{"source": WILD, "source_row": 1, "reason": "malformed_row", "detail": WILD}])
    jpeg = f"not a picture {EVIL}".encode()
    tables.write(
        "frames", [{"video_id": WILD, "segment_index": 0, "time_ms": 0, "width": 9, "height": 9, "jpeg": jpeg}]
    )
    labels.write_labels(root)
    Outcomes(root).write([
        Outcome("download", WILD, "failed", error_class="unknown", permanent=False, message=f"Traceback \n{WILD}"),
        Outcome("extract", WILD, "failed", spec=WILD, error_class=WILD, permanent=True, message=WILD),
    ])  # fmt: skip
    return root


def run_of(root: Path) -> Path:
    """A fit whose names are hostile, with a drawing that carries a script."""
    folder = root / "runs" / "transgrec-0"
    (folder / "plots").mkdir(parents=True)
    row = {"row": WILD, "metric": "map", "better": "higher", "mean": 0.5, "low": 0.4, "high": 0.6, "cases": 3}
    content = {"rows": [row, {**row, "row": "random"}], "counts": {WILD: WILD}, "fit": {WILD: 1}}
    (folder / "metrics.json").write_text(json.dumps(content))
    settings = {"model": WILD, "stores": {"x": WILD}, "settings": {WILD: WILD}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "plots" / "loss.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'><script>{EVIL}</script></svg>")
    return folder


def test_a_report_of_hostile_texts_is_a_page_of_text(root: Path) -> None:
    raw = write_report(root, root / "report.html", title=WILD, runs=[run_of(root)]).read_text()
    page = Page(raw)
    known = {
        "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "h1", "h2", "h3", "p", "a",
        "b", "div", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "dl", "dt", "dd",
        "figure", "figcaption", "img",
    }  # fmt: skip
    harmless = {
        "lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "src", "alt", "title", "colspan",
        "open",
    }  # fmt: skip
    assert {tag for tag, _ in page.tags} <= known
    for _, attributes in page.tags:
        assert attributes.keys() <= harmless
        assert (attributes.get("href") or "#").startswith("#")
        if "src" in attributes:
            assert (attributes["src"] or "").startswith(("data:image/svg+xml;base64,", "data:image/jpeg;base64,"))
    assert "<script" not in raw
    assert "{{ 7*7 }}" in page.text, "no template in a text is filled in"
    assert not set(raw) & set("\x1b\x07\x9b\x08\u202e")
    policy = next(a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert re.fullmatch(r"default-src 'none'; img-src data:; style-src 'unsafe-inline'", policy)
    assert raw.index("Content-Security-Policy") < raw.index("<title>"), "before anything that came from outside"


WHISKER = {"mean": 0.5, "low": 0.4, "high": 0.6, "strong": True}
DRAWN: dict[str, Callable[[], bytes]] = {
    "whiskers": lambda: charts.whiskers([{**WHISKER, "name": WILD}], WILD),
    "points": lambda: charts.points([WILD, "b"], {WILD: [WHISKER, WHISKER]}, WILD, WILD),
    "curves": lambda: charts.curves({WILD: np.arange(1.0, 9)}, WILD, WILD, best=3),
    "stacked": lambda: charts.stacked([WILD], {WILD: np.ones(1)}, WILD, WILD),
    "heat": lambda: charts.heat(np.ones((2, 2)), [WILD, "b"], [WILD, "d"], WILD, WILD),
    "small_bars": lambda: charts.small_bars([(WILD, np.ones(3))], WILD, WILD),
    "bars": lambda: charts.bars(np.ones(3), 0, WILD, WILD),
    "scatter": lambda: charts.scatter({WILD: np.ones((3, 2))}, ["red"]),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_drawing_with_hostile_names_is_a_drawing(kind: str) -> None:
    svg = DRAWN[kind]()
    drawn = ElementTree.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert not tags & {"script", "foreignObject", "iframe", "a", "animate", "set"}
    for element in drawn.iter():
        assert not any(name.lower().startswith("on") for name in element.attrib)
        for name, value in element.attrib.items():
            if name.endswith("href"):
                assert value.startswith(("#", "data:image/png;base64,"))


def screen(show: Callable[[Console, dict[str, Any]], None], figures: dict[str, Any]) -> str:
    """What a terminal gets, without the sequences for colours and styles that rich itself writes."""
    out = io.StringIO()
    show(Console(file=out, force_terminal=True, width=200, highlight=False, color_system="standard"), figures)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())


def rows(name: str) -> list[dict[str, Any]]:
    return [{"row": name, "metric": "map", "mean": 0.5, "low": 0.4, "high": 0.6, "cases": 3}]


def test_a_terminal_is_not_driven(root: Path) -> None:
    from reelmill.flows.jobs.keep import Constant, VerifyResult
    from reelmill.flows.jobs.recommend import RecommendResult
    from reelmill.flows.jobs.status import status
    from reelmill.flows.jobs.train import TrainResult
    from reelmill.models.recommendations import AskedUser, Recommendations

    recommended = [{"rank": 1, "video_id": WILD, "title": WILD, "clock": "0:00", "score": 1.0, "segment_index": 0}]
    answer = Recommendations(
        run=WILD, model=WILD, user=AskedUser(WILD, False, WILD), video=WILD, unit="segment", recommended=recommended,
        candidates=3, left_out={WILD: 2}, notes=[WILD], about={WILD: 2},
    )  # fmt: skip
    cut = {"file": WILD, "video_id": WILD, "start_ms": 0, "stop_ms": 900}
    checked = VerifyResult(
        stores={WILD: [WILD]}, encoders={WILD: [WILD]}, media={WILD: WILD}, quarantined=[WILD],
        constant={WILD: Constant(3, [WILD])}, lost={WILD: [WILD]}, repair=["x"],
    )  # fmt: skip
    fits = TrainResult({}, {WILD: WILD}, reason=WILD)
    shown = [
        screen(status_verb.render, status(str(root))),
        screen(recommend_verb.render, RecommendResult(answer, cut)),
        screen(verify_verb.render, checked),
        screen(train_verb.render, fits),
        screen(lambda out, _: train_verb.metrics_table(WILD, rows(WILD)).print(out), {}),
    ]
    for text in shown:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), text[:300]
        assert "http://evil" in text.replace("\n", ""), "shown as text"


# Names that are typed

WRONG = [
    "../../x",
    "..",
    "/etc",
    "a/../../b",
    "transgrec/../..",
    "x\0y",
    "-rf",
    "~",
    "*",
    "{a,b}",
    "a" * 5000,
    "\u202e",
    ".",
]


@pytest.mark.parametrize("name", WRONG)
def test_typed_names_are_looked_up_and_not_joined(root: Path, name: str) -> None:
    """Of runs, stores and recommenders: each is one of those that are there, or an error that names it."""
    outside = root.parent / "x"
    (outside / "plots").mkdir(parents=True)
    for file in ("metrics.json", "settings.json", "checkpoint.pt"):
        (outside / file).write_text("{}")
    run_of(root)
    for ask in (
        lambda: recommend(root, run=name),
        lambda: find_run(root, name),
        lambda: open_store(root, name),
        lambda: verify(root, name),
        lambda: export(root, name, root.parent / "to", "parquet"),
        lambda: train(root, model=name),
        lambda: Tables(root).read(name),
        lambda: Spec(name, "fc6", 4, "segment"),
        lambda: Spec("c3d", name, 4, "segment"),
    ):
        with pytest.raises((ReelmillError, OSError)) as caught:
            ask()
        assert isinstance(caught.value, ReelmillError) or caught.value.errno == errno.ENAMETOOLONG
    assert not (root.parent / "to").exists()
    assert sorted(p.name for p in root.parent.iterdir()) == ["root", "x"]


def test_a_highlight_is_cut_out_of_media_of_the_tables_alone(root: Path, tmp_path: Path) -> None:
    for video in WRONG:
        with pytest.raises(InputError, match="no media file"):
            write_highlight(root, video, 0, 1000, tmp_path / "x.gif")
    with pytest.raises(InputError, match="must end in"):
        write_highlight(root, WILD, 0, 1000, tmp_path / "x.sh")
    assert not (tmp_path / "x.gif").exists()


def test_verbs_refuse_names_that_lead_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["recommend", "--run", "../../x"], ["train", "../../x"]):
        with pytest.raises(ReelmillError):
            app([*arguments, "--root", str(root), "--json"], standalone_mode=False)
    assert capsys.readouterr().out == ""
