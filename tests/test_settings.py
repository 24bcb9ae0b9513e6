"""The settings file: every key documented, unknown ones named, later sources win."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from flows import settings as s
from storage.errors import InputError


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [s._section(f.annotation) for f in model.model_fields.values()]
    return [model, *(m for section in inner if section for m in sections(section))]


def test_every_setting_says_what_it_is() -> None:
    found = [(m.__name__, n, f.description) for m in {*sections(s.Settings), s.ExtractorSettings}
             for n, f in m.model_fields.items()]  # fmt: skip
    assert len(found) > 40
    assert not [(m, n) for m, n, description in found if not description]


def test_the_printed_file_is_a_settings_file(tmp_path: Path) -> None:
    text = (
        s.document().replace("root: …  # required", f"root: {tmp_path}").replace("path: …  # required", "path: t.csv")
    )
    (tmp_path / "settings.yaml").write_text(text)
    loaded = s.load(tmp_path / "settings.yaml")
    assert loaded.model_dump(exclude={"root", "source"}) == s.Settings(root=tmp_path).model_dump(
        exclude={"root", "source"}
    )
    assert loaded.source is not None
    assert loaded.source.path == tmp_path / "t.csv"  # relative to the file


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.yaml").write_text("root: data\nextract: {workers: 2, device: cpu}\n")
    assert s.load(tmp_path / "s.yaml").root == tmp_path / "data"
    monkeypatch.setenv("REELMILL__EXTRACT__WORKERS", "3")
    assert s.load(tmp_path / "s.yaml").extract.workers == 3
    both = s.load(tmp_path / "s.yaml", ["extract.workers=4", "extract.extractors={vgg19: {windows: 2}}"])
    assert (both.extract.workers, both.extract.device) == (4, "cpu")
    assert both.extract.extractors["vgg19"].windows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root: r\nextrct: {}", r"'extrct' is not known; did you mean 'extract'\?"),
        ("root: r\nextract: {extractors: {c3d: {window: 1}}}", r"did you mean 'windows'\?"),
        ("root: r\ndownload: {max_heigth: 1}", r"'download\.max_heigth' is not known; did you mean 'max_height'\?"),
        ("extract: {}", r"'root' is missing"),
        ("root: r\nextract: {workers: 0}", r"extract\.workers: .*greater than 0 \(given: 0\)"),
        ("[1, 2]", "holds list"),
        ("root: [", "is not YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        s.load(tmp_path / "s.yaml")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reelmill settings >"):
        s.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="give key=value"):
        s.load(None, ["root"])
    assert yaml.safe_load(s.document())["segments"]["segment_ms"] == 5000
