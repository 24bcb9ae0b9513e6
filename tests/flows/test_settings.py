"""The settings file: every key documented, unknown ones named, later sources win."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from reelmill.extractors.core.settings import rows_of
from reelmill.extractors.registry import descriptors
from reelmill.flows.jobs.check import check
from reelmill.flows.settings import sections as s
from reelmill.flows.settings.document import described, document
from reelmill.flows.settings.load import load
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage.errors import InputError


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [s.section_of(f.annotation) for f in model.model_fields.values()]
    return [model, *(m for section in inner if section for m in sections(section))]


def test_every_setting_says_what_it_is() -> None:
    found = [(m.__name__, n, f.description) for m in sections(s.Settings) for n, f in m.model_fields.items()]
    found += [(e.name, row.name, row.meaning) for e in descriptors() for row in e.settings.rows()]
    found += [("DownloadOptions", row.name, row.meaning) for row in rows_of(DownloadOptions)]
    assert len(found) > 40
    assert not [(m, n) for m, n, description in found if not description]


def test_the_printed_file_is_a_settings_file(tmp_path: Path) -> None:
    text = document().replace("root: …  # required", f"root: {tmp_path}").replace("path: …  # required", "path: t.csv")
    (tmp_path / "settings.yaml").write_text(text)
    loaded = load(tmp_path / "settings.yaml")
    assert loaded.model_dump(exclude={"root", "source"}) == s.Settings(root=tmp_path).model_dump(
        exclude={"root", "source"}
    )
    assert loaded.source is not None
    assert loaded.source.path == tmp_path / "t.csv"  # relative to the file


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.yaml").write_text("root: data\nextract: {workers: 2, device: cpu}\n")
    assert load(tmp_path / "s.yaml").root == str(tmp_path / "data")
    monkeypatch.setenv("REELMILL__EXTRACT__WORKERS", "3")
    assert load(tmp_path / "s.yaml").extract.workers == 3
    both = load(tmp_path / "s.yaml", ["extract.workers=4", "extract.extractors={vgg19: {windows: 2}}"])
    assert (both.extract.workers, both.extract.device) == (4, "cpu")
    assert both.extract.extractors["vgg19"].windows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root: r\nextrct: {}", r"'extrct' is not known; did you mean 'extract'\?"),
        (
            "root: r\nextract: {extractors: {c3d: {window: 1}}}",
            r"extract\.extractors: c3d has no setting 'window': did you mean 'windows'\?",
        ),
        ("root: r\ndownload: {max_heigth: 1}", r"'download\.max_heigth' is not known; did you mean 'max_height'\?"),
        ("extract: {}", r"'root' is missing"),
        ("root: r\ndownload: {max_height: 0}", r"download: max_height 0: must be above 0"),
        ("root: r\ndownload: {workers: 65}", r"download: workers 65: must be at most 64"),
        ("root: r\ndownload: {backoff_s: .nan}", r"download\.backoff_s: .*finite number \(given: nan\)"),
        ("root: r\ndownload: {max_height: tall}", r"download\.max_height: .*\(given: 'tall'\)"),
        ("root: r\ndownload: {cookies_file: 'https://a/b'}", r"cookies_file 'https://a/b': must be a path on this"),
        ("root: r\ndownload: [1]", r"download: give keys and values"),
        ("root: r\nextract: {workers: 0}", r"extract\.workers: .*greater than 0 \(given: 0\)"),
        ("root: nope://bucket/x", r"root: .*no driver for 'nope'.*'nope://bucket/x'"),
        ("root: r\nsource: {path: 'https://a/b.csv'}", r"source\.path: must be a path on this machine"),
        ("root: !!binary", r"root: must be text"),
        ("[1, 2]", "holds list"),
        ("root: [", "is not YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "s.yaml")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reelmill settings >"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="give key=value"):
        load(None, ["root"])
    assert yaml.safe_load(document())["segments"]["segment_ms"] == 5000


def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"root: \xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        load(tmp_path / "s.yaml")
    with pytest.raises(InputError, match="is a folder"):
        load(tmp_path)


def test_paths_in_the_file_start_at_its_folder_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    networks = (
        "{c3d: {weights: c3d.pickle, mean_file: mean.npy}, i3d: {weights: w/i3d.pt}, vgg19: {weights: default},"
        " i3d_r50: {weights: /w/i3d.pyth}}"
    )
    (tmp_path / "s.yaml").write_text(f"root: ~/data\nextract: {{extractors: {networks}}}\n")
    loaded = load(tmp_path / "s.yaml")
    assert loaded.root == str(tmp_path / "home" / "data")
    found = loaded.extract.extractors
    assert found["c3d"].mean_file == tmp_path / "mean.npy"
    assert [found[name].weights for name in ("c3d", "i3d", "vgg19", "i3d_r50")] == [
        str(tmp_path / "c3d.pickle"), str(tmp_path / "w" / "i3d.pt"), "default", "/w/i3d.pyth",
    ]  # fmt: skip
    assert load(None, ["root=~/other"]).root == str(tmp_path / "home" / "other")


def test_every_option_of_the_downloader_is_a_setting(tmp_path: Path) -> None:
    assert {f"download.{field.name}" for field in fields(DownloadOptions)} <= {row["key"] for row in described()}
    loaded = load(None, [f"root={tmp_path}", "download.schemes=[https]", "download.allow_local=false"])
    options = loaded.download
    assert options == DownloadOptions(schemes=("https",), allow_local=False)
    assert (options.schemes, options.allow_local, options.allowed_extractors) == (("https",), False, None)


def test_values_of_downloads_are_read_as_yaml_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REELMILL__DOWNLOAD__COPY_LOCAL", "1")
    (tmp_path / "s.yaml").write_text("root: r\ndownload: {max_seconds: 1e3, format: 22, cookies_file: c.txt}\n")
    loaded = load(tmp_path / "s.yaml", ["download.memory_bytes=null", "download.max_bytes=1.0e+6"]).download
    assert loaded == DownloadOptions(
        max_seconds=1000.0, format="22", cookies_file=tmp_path / "c.txt", copy_local=True, memory_bytes=None,
        max_bytes=1_000_000,
    )  # fmt: skip
    assert load(None, ["root=r", "download.cookies_file=~/c.txt"]).download.cookies_file == tmp_path / "c.txt"
    written = load(None, ["root=r", "download.cookies_file=~/c.txt"])
    assert s.Settings.model_validate_json(written.model_dump_json()) == written


def test_empty_sections_and_bare_numbers_are_taken(tmp_path: Path) -> None:
    text = "root: r\nextract:\ntrain: {models: {jifr: , prnet: {stores: 5, options: }}}\n"
    text += "download:\nsource: {path: t.csv, name: 2024}\n"
    (tmp_path / "s.yaml").write_text(text)
    loaded = load(tmp_path / "s.yaml")
    assert loaded.extract == s.ExtractSettings()
    assert loaded.source is not None
    assert (loaded.train.models["prnet"].stores, loaded.train.models["jifr"].options) == ("5", {})
    assert loaded.source.name == "2024"


def test_settings_are_described_as_rows() -> None:
    rows = {row["key"]: row for row in described()}
    assert rows["download.max_height"]["default"] == 360
    assert rows["source.path"]["required"]
    assert {"extract.extractors.c3d.windows", "extract.extractors.topics.topics"} < rows.keys()
    assert all(row["meaning"] for row in rows.values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["extract.extractors={c3dd: {}}"], "did you mean 'c3d'"),
        (["extract.extractors={c3d: {layers: [fc9]}}"], "layer 'fc9' of c3d"),
        (["extract.extractors={c3d: {weights: /none.pt}}"], "no such file"),
        (["extract.extractors={}"], "is empty"),
        (["extract.device=cuda:99"], "device 'cuda:99'"),
        (["train.device=tpu0"], "device 'tpu0'"),
        (["train.models={transgrek: {}}"], "did you mean 'transgrec'"),
        (["train.models.transgrec.options={epoch: 3}"], "epochs"),
        (["train.models={}"], "is empty"),
        (["train.models.transgrec.stores={feature: c3d}"], "did you mean 'features'"),
        (["train.models={drnn: {stores: c3d}}"], "drnn reads 5 stores"),
        (["train.models.transgrec.stores=vgg19-fc7"], "not among what extract will write: c3d-fc6"),
        (["train.models.transgrec.stores=c3d", "extract.extractors={c3d: {layers: [fc6, conv5]}}"], "ambiguous"),
        (["source.path=/none.csv"], "source /none.csv does not exist"),
    ],
)
def test_mistakes_are_found_before_the_work(tmp_path: Path, overrides: list[str], message: str) -> None:
    check(load(None, [f"root={tmp_path}", "extract.extractors={c3d: {weights: random}}"]))
    with pytest.raises(InputError, match=message):
        check(load(None, [f"root={tmp_path}", *overrides]))
