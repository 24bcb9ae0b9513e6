"""The report: right figures, nothing loaded, nothing that came from outside can act."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from reelmill.models.core import charts
from reelmill.models.report.page import clock, visible, write_report
from reelmill.storage import FeatureWriter, Outcome, Outcomes, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, PADDED, VALID, Block

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """A page as a user sees it: text, tags with attributes, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if "td" in self.open or ("th" in self.open and self.cells):
            self.cells[-1][-1] = " ".join((self.cells[-1][-1] + " " + data).split())

    def row(self, first: str) -> list[str]:
        """The cells of the table row that begins with this text."""
        return next(row for row in self.cells if row and row[0] == first)

    def sources(self) -> list[str]:
        return [attrs["src"] or "" for _, attrs in self.tags if "src" in attrs]


def jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 18), colour).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos, one of them with a hostile title; three users; one failure of each kind."""
    root = tmp_path / "root"
    tables = Tables(root)
    tables.write("videos", [{"video_id": "v1", "title": EVIL}, {"video_id": "v2"}, {"video_id": "gone"}])
    media = {
        "sha256": "0" * 64, "bytes": 1_500_000, "container": "mp4", "codec": "h264", "width": 320, "height": 180,
        "rotation": 0, "mean_fps": 25.0, "variable_rate": False, "frame_count": 300, "start_ms": 0,
    }  # fmt: skip
    tables.write("media", [
        {**media, "video_id": "v1", "uri": "media/v1.mp4", "duration_ms": 12_000, "audio_rate": 44_100},
        {**media, "video_id": "v2", "uri": "media/v2.mp4", "duration_ms": 3_708_480, "codec": "vp9"},
    ])  # fmt: skip
    event = {"kind": "highlight", "source": "s"}
    tables.write("events", [
        {**event, "user_id": user, "video_id": "v1", "start_ms": 0, "stop_ms": 9000, "source_row": row}
        for row, user in enumerate(["ann", "b\x07\u202eob", "cid"], 1)
    ])  # fmt: skip
    tables.write("rejects", [
        {"source": "s", "source_row": row, "reason": "negative_time", "detail": f"start=-{row}"} for row in (9, 7)
    ])  # fmt: skip
    tables.write("segments", [
        {"video_id": "v1", "segment_index": i, "start_ms": 5000 * i, "stop_ms": min(5000 * i + 5000, 12_000),
         "duration_source": "measured"} for i in range(3)
    ])  # fmt: skip
    tables.write("labels", [
        {"user_id": user, "video_id": "v1", "segment_index": i, "covered_ms": 4000}
        for user, i in [("ann", 0), ("ann", 1), ("b\x07\u202eob", 1), ("cid", 1)]
    ])  # fmt: skip
    tables.write("frames", [
        {"video_id": "v1", "segment_index": i, "time_ms": 5000 * i, "width": 32, "height": 18,
         "jpeg": jpeg((i, 0, 0))}
        for i in range(3)
    ])  # fmt: skip
    tables.write("frames", [
        {"video_id": "v1", "segment_index": i, "time_ms": 5000 * i, "width": 32, "height": 18,
         "jpeg": jpeg((200, 9, i))}
        for i in range(3)
    ])  # fmt: skip
    Outcomes(root).write([
        Outcome("download", "gone", "failed", error_class="timed_out", permanent=False, message="took too long"),
        Outcome("download", "v1", "done"), Outcome("download", "v2", "done"),
    ])  # fmt: skip
    Outcomes(root).write([
        Outcome("download", "gone", "failed", error_class="removed", permanent=True, message=f"404 {EVIL}\x1b[31m"),
    ])  # fmt: skip
    spec = Spec("c3d", "fc6", 4, "segment", weights="random-0", sampling={"note": EVIL})
    for value in (1.0, 2.0):  # extracted twice: the newer block counts, and is counted once
        features = np.full((3, 4), value, np.float32)
        features[2] = np.nan
        with FeatureWriter(root, spec) as writer:
            mask = np.array([VALID, PADDED, NO_DATA], np.uint8)
            index = np.arange(3, dtype=np.int32)
            writer.add(Block("v1", features, mask, index, index * 5000, index * 5000 + 5000))
    return root


def verdict_of(low: float, high: float) -> str:
    return "better" if low > 0 else "worse" if high < 0 else "equal"


def fit(root: Path, name: str, mean: float, low: float, high: float, old: bool = False, **settings: object) -> Path:
    """A run folder with one metric of two rankings, and one that is better when lower; `settings` go over the usual.
    `old`: of a version that compared with chance alone."""
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    chance = {"mean": 0.5, "low": 0.48, "high": 0.52, "cases": 40, "minus_random": 0.0, "minus_random_low": 0.0,
              "minus_random_high": 0.0}  # fmt: skip
    model = {"mean": mean, "low": low, "high": high, "cases": 40, "minus_random": mean - 0.5,
             "minus_random_low": low - 0.5, "minus_random_high": high - 0.5}  # fmt: skip
    content = {**chance, "mean": 0.6, "low": 0.58, "high": 0.62}
    if not old:
        model |= {"best_floor": "content", "minus_floor": mean - 0.6, "minus_floor_low": low - 0.6,
                  "minus_floor_high": high - 0.6}  # fmt: skip
    verdict = {"higher": verdict_of(low - 0.6, high - 0.6), "lower": verdict_of(0.5 - high, 0.5 - low)}
    rows = [
        {"row": row, "metric": metric, "better": better, **figures}
        for row, figures in (("random", chance), ("content", content), ("transgrec", model))
        for metric, better in (("map", "higher"), ("nmsd", "lower"))
    ]
    if not old:
        rows = [{**row, "verdict": verdict[row["better"]]} if row["row"] == "transgrec" else row for row in rows]
    groups = [{"group": "[0, 8)", **row} for row in rows]
    metrics = {"rows": rows, "by_sparsity": groups, "counts": {"users": 1234}, "fit": {"epochs": 7, "watch": None}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    asked = {"model": "transgrec", "settings": {"dim": 128, "l2": 1e-4, **settings}, "code_version": 1}
    asked["stores"] = {"features": "c3d-fc6-x"}
    (folder / "settings.json").write_text(json.dumps(asked))
    return folder


def page(root: Path, **rest: object) -> Page:
    return Page(write_report(root, root / "out" / "report.html", title="A title", **rest).read_text())  # type: ignore[arg-type]


def test_corpus_figures(root: Path) -> None:
    seen = page(root)
    for figure in ("3 videos 2 fetched", "1.0 hours of media 3.0 MB", "3 segments 3.0 a video", "3 users 3 with labels",
                   "3 events 2 rows rejected", "4 labels 1.3 a user"):  # fmt: skip
        assert figure in seen.text
    assert "0:12, 31:00.24, 1:01:48.48" in seen.text
    assert "h264 (1), vp9 (1)" in seen.text
    assert "without sound 1" in seen.text
    assert "2 of 3 segments have at least one label." in seen.text
    assert seen.row("negative time") == ["negative time", "2", "7", "start=-7"]


def test_stores_count_each_video_once(root: Path) -> None:
    name = next((root / "features").iterdir()).name
    row = page(root).row(name)
    assert row[:8] == [name, "c3d fc6", "4", "1", "3", "100 %", "1", "1"]
    assert row[-1] == "random-0"
    assert "Random weights." in page(root).text


def test_a_damaged_store_is_told(root: Path) -> None:
    part = next((root / "features").glob("*/part-*"))
    part.write_bytes(part.read_bytes()[:100])
    assert "cannot be read" in page(root).text


def test_outcomes_are_the_newest_of_each_video(root: Path) -> None:
    row = page(root).row("download")
    assert row[1:3] == ["2", "1"]
    assert "removed 1" in row[3]
    assert "permanent" in row[3]
    assert "timed out" not in row[3]


def test_what_came_from_outside_cannot_act(root: Path) -> None:
    raw = write_report(root, root / "report.html", title=f"{EVIL} \u202e").read_text()
    seen = Page(raw)
    assert "script" not in {tag for tag, _ in seen.tags}
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)
    assert seen.text.count(EVIL) >= 3, "title of the page, of the video, message: shown as text"
    assert "<script" not in raw
    assert not set(raw) & set("\x07\x1b\u202e")
    assert "b\\x07\\u202eob" in seen.text
    assert "\\x1b[31m" in seen.text


def test_the_page_loads_nothing(root: Path) -> None:
    seen = page(root, runs=[fit(root, "transgrec-1", 0.8, 0.75, 0.85)])
    assert all(source.startswith("data:image/") for source in seen.sources())
    assert not {tag for tag, _ in seen.tags} & {"link", "script", "iframe", "object", "embed"}
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in seen.tags)
    targets = {attrs["href"] for _, attrs in seen.tags if attrs.get("href")}
    assert targets <= {f"#{attrs['id']}" for _, attrs in seen.tags if "id" in attrs}
    rule = next(attrs["content"] for _, attrs in seen.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert (rule or "").startswith("default-src 'none'")


def test_pictures_are_the_newest_and_the_most_liked_come_first(root: Path) -> None:
    seen = page(root)
    pictures = [s.partition(",")[2] for s in seen.sources() if s.startswith("data:image/jpeg")]
    colours = [Image.open(io.BytesIO(base64.b64decode(p))).getpixel((5, 5)) for p in pictures]
    assert len(colours) == 3
    assert all(red > 150 for red, _, _ in colours), "the newer part counts"  # type: ignore[misc]
    assert "0:05–0:10 · no. 1 3 like it ann b\\x07\\u202eob +1" in seen.text
    assert "0:00–0:05 · no. 0 1 likes it ann" in seen.text
    assert "0:10–0:12 · no. 2 no likes" in seen.text
    assert seen.text.index("no. 1") < seen.text.index("no. 0") < seen.text.index("no. 2")


def test_pictures_of_another_grid_are_left_out(root: Path) -> None:
    grid = Tables(root).read("segments").to_pylist()
    Tables(root).write("segments", [{**row, "start_ms": row["start_ms"] + row["segment_index"]} for row in grid])
    seen = page(root)
    assert len([s for s in seen.sources() if s.startswith("data:image/jpeg")]) == 1
    assert "no. 0 1 likes it" in seen.text


def test_charts_are_drawings(root: Path) -> None:
    seen = page(root, runs=[fit(root, "transgrec-1", 0.8, 0.75, 0.85)])
    charts = [s.partition(",")[2] for s in seen.sources() if s.startswith("data:image/svg")]
    assert len(charts) == 5
    for chart in charts:
        drawing = ElementTree.fromstring(base64.b64decode(chart))
        assert drawing.tag.endswith("svg")
        assert not drawing.findall(".//{http://www.w3.org/2000/svg}script")
    assert b"transgrec" in base64.b64decode(charts[-1])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.75, 0.85, "beats the best floor, content"),
        (0.55, 0.66, "no different from the best floor, content"),
        (0.51, 0.58, "below the best floor, content"),  # though above chance
        (0.3, 0.4, "below the best floor, content"),
    ],
)
def test_a_fit_against_the_best_floor(root: Path, low: float, high: float, verdict: str) -> None:
    mean = (low + high) / 2
    seen = page(root, runs=[fit(root, "transgrec-1", mean, low, high)])
    row = seen.row("root")
    assert row[1:5] == ["transgrec", "c3d-fc6-x", "40", "map"]
    assert row[5] == f"{mean:.3f} {low:.3f} – {high:.3f}"
    assert row[6:] == ["0.600 content", f"{mean - 0.6:+.3f} {low - 0.6:+.3f} – {high - 0.6:+.3f}", verdict]
    assert "chance" not in verdict
    assert "users 1,234" in seen.text
    assert "dim 128" in seen.text
    assert "l2 0.0001" in seen.text
    assert "[0, 8) training examples · 40 cases" in seen.text


def test_lower_is_better_where_it_is(root: Path) -> None:
    raw = write_report(root, root / "r.html", title="", runs=[fit(root, "a", 0.8, 0.75, 0.85)]).read_text()
    cells = raw.split('<tr class="own">')[1].split("</tr>")[0].split("<td")[1:]
    assert ['class="better"' in cell for cell in cells] == [True, False]
    assert ['class="worse"' in cell for cell in cells] == [False, True]


def test_several_fits(root: Path, tmp_path: Path) -> None:
    runs = [fit(root, "transgrec-1", 0.8, 0.75, 0.85), fit(tmp_path / "twin", "transgrec-1", 0.5, 0.45, 0.55)]
    seen = page(root, runs=runs)
    assert seen.row("root")[-1] == "beats the best floor, content"
    assert seen.row("twin")[-1] == "below the best floor, content"


@pytest.mark.parametrize(("mean", "word"), [(0.8, "above"), (0.55, "below")])
def test_a_run_of_an_older_version_has_no_interval_to_the_best_floor(root: Path, mean: float, word: str) -> None:
    seen = page(root, runs=[fit(root, "transgrec-1", mean, mean - 0.01, mean + 0.01, old=True)])
    said = f"{word} the best floor, content, by the means alone: an older fit"
    assert seen.row("root")[6:] == ["0.600 content", f"{mean - 0.6:+.3f}", said]


def svg_of(source: str) -> str:
    """The text of a picture on the page."""
    assert source.startswith("data:image/svg+xml;base64,")
    return base64.b64decode(source.partition(",")[2]).decode()


def picture(seen: Page, alt: str) -> str:
    """The picture whose description begins so."""
    return svg_of(next(a["src"] or "" for tag, a in seen.tags if tag == "img" and (a["alt"] or "").startswith(alt)))


def test_the_plots_of_a_run_stand_on_the_page_in_order(root: Path) -> None:
    """Explained where they are known; the groups are drawn once, from the figures."""
    folder = fit(root, "transgrec-1", 0.8, 0.75, 0.85)
    assert "Plots of the fit" not in page(root, runs=[folder]).text
    (folder / "plots").mkdir()
    for name in ("strange_thing", "attention_2", "attention_1", "loss", "groups"):
        (folder / "plots" / f"{name}.svg").write_text(f"<svg>{name}</svg>")
    seen = page(root, runs=[folder])
    shown = [svg_of(source) for source in seen.sources() if "svg" in source]
    assert [s for s in shown if len(s) < 50] == [
        f"<svg>{name}</svg>" for name in ("loss", "attention_1", "attention_2", "strange_thing")
    ]
    assert "Terms of the loss Means over each epoch." in seen.text
    assert "strange thing" in seen.text


def test_groups_have_a_chart_beside_their_table(root: Path) -> None:
    seen = page(root, runs=[fit(root, "transgrec-1", 0.8, 0.75, 0.85)])
    chart = picture(seen, "map of each group and ranking")
    assert all(word in chart for word in ("[0, 8)", "40 cases", "random", "transgrec", ">map<"))


def test_fits_that_differ_in_one_setting_are_an_ablation(root: Path) -> None:
    """10 comes after 2; equal otherwise, seed included; a fit of another seed or with two changes is no part of it."""
    runs = [
        fit(root, f"transgrec-{k}", mean, mean - 0.05, mean + 0.05, **settings)
        for k, (mean, settings) in enumerate([
            (0.6, {"depth": 10, "seed": 0}), (0.7, {"depth": 2, "seed": 0}), (0.5, {"depth": 0, "seed": 0}),
            (0.9, {"depth": 0, "seed": 1}), (0.8, {"depth": 3, "seed": 0, "dim": 64}),
        ])
    ]  # fmt: skip
    seen = page(root, runs=runs)
    assert seen.text.count("depth of transgrec on root") == 1
    assert "seed of" not in seen.text
    assert "dim of" not in seen.text
    chart = picture(seen, "Metrics of transgrec with depth at 0, 2, 10")
    assert all(word in chart for word in (">map<", ">nmsd ↓<", ">depth<"))
    assert "Ablations: one setting varied" not in page(root, runs=runs[:1]).text


def test_other_data_are_no_ablation(root: Path, tmp_path: Path) -> None:
    runs = [
        fit(root, "transgrec-1", 0.8, 0.7, 0.9, depth=1),
        fit(tmp_path / "b", "transgrec-1", 0.8, 0.7, 0.9, depth=2),
    ]
    assert "Ablations: one setting varied" not in page(root, runs=runs).text


def test_the_points_of_an_ablation_are_the_means_in_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(charts, "points", lambda *given, **_: drawn.append(given) or b"")
    runs = [fit(root, f"transgrec-{d}", 0.1 * d, 0.1 * d - 0.05, 0.1 * d + 0.05, depth=d) for d in (3, 1, 2)]
    page(root, runs=runs)
    ticks, series, *_ = next(given for given in drawn if given[2] == "depth")
    assert ticks == ["1", "2", "3"]
    assert [cell["mean"] for cell in series["map"]] == pytest.approx([0.1, 0.2, 0.3])
    assert [cell["high"] for cell in series["nmsd ↓"]] == pytest.approx([0.15, 0.25, 0.35])


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((0.7, 0.71, 0.69), "beats the best floor"),
        ((0.4, 0.41, 0.42), "below the best floor"),
        ((0.5, 0.7, 0.6), "no different from the best floor"),
    ],
)
def test_several_seeds_are_judged_by_the_interval_over_seeds(
    root: Path, means: tuple[float, ...], verdict: str
) -> None:
    """Of the differences to the best floor, by Student's quantile of two degrees of freedom, 4.303."""
    runs = [fit(root, f"transgrec-{s}", m, m - 0.01, m + 0.01, seed=s) for s, m in enumerate(means)]
    other = fit(root, "transgrec-9", 0.9, 0.8, 1.0, seed=0, depth=3)
    seen = page(root, runs=[*runs, other])
    half = 4.30265 * np.std(means, ddof=1) / 3**0.5
    table = seen.text.split("Repeated fits: seeds")[1].split("Fits that differ")[0]
    mean = np.mean(means)
    assert f"root transgrec 3 map {mean:.3f} ± {half:.3f} {mean - 0.6:+.3f} ± {half:.3f} content {verdict}" in table
    assert table.count("transgrec") == 1
    assert "Repeated fits" not in page(root, runs=[*runs[:1], other]).text


def test_an_unfinished_fit_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.json"):
        write_report(root, root / "report.html", title="", runs=[root])
    assert not (root / "report.html").exists()


def test_a_root_without_anything(tmp_path: Path) -> None:
    seen = page(tmp_path)
    assert seen.text.count("yet") == 6
    assert not seen.sources()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\tb\x00", "a\\tb\\x00"), ("\ud800", "\\ud800"), ("née 日本 \u200d", "née 日本 \u200d"), (3, 3)],
)
def test_control_characters_are_written_out(value: object, shown: object) -> None:
    assert visible(value) == shown


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0:00"), (65_000, "1:05"), (59_400, "0:59.4"), (3_600_250, "1:00:00.25")]
)
def test_clock(milliseconds: int, text: str) -> None:
    assert clock(milliseconds) == text
