"""Without a server a command does its job in this process, and nothing of Prefect is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reelmill.flows.cli.execute import execute
from reelmill.flows.jobs import known_specs
from reelmill.flows.jobs.executor import IN_THIS_PROCESS, Executor
from reelmill.flows.jobs.report import report
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage import Outcome, Outcomes, Spec
from tests.sounds import write_sound


def loaded(file: Path, *arguments: str | Path, **environment: str) -> set[str]:
    """Top-level modules of a process that ran a verb."""
    code = (
        "import atexit, json, sys\n"
        f"atexit.register(lambda: json.dump(sorted(sys.modules), open({str(file)!r}, 'w')))\n"
        "from reelmill.flows.cli.main import main; main()"
    )
    environment = {**{k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}, **environment}
    command = [sys.executable, "-c", code, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    return {name.partition(".")[0] for name in json.loads(file.read_text())}


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Settings of a folder with one video, whose sound is extracted."""
    (tmp_path / "videos").mkdir()
    write_sound(tmp_path / "videos" / "one.mkv")
    chosen = {
        "root": "root",
        "source": {"path": "videos", "format": "folder"},
        "extract": {"extractors": {"logmel": {}}},
        "train": {"models": {"transgrec": {"stores": "logmel"}}},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(chosen))
    return tmp_path / "settings.yaml"


def test_one_off_commands_import_no_prefect(tmp_path: Path, settings_file: Path) -> None:
    """Nor, when nothing is left to do, anything else that takes seconds to import."""
    heavy = {"torch", "librosa", "numba", "scipy", "sklearn", "gensim", "matplotlib", "jinja2", "yt_dlp", "pandas"}
    for verb in ("ingest", "extract", "run"):  # work, and in the end a report
        modules = loaded(tmp_path / "modules.json", verb, settings_file)
        assert "reelmill" in modules
        assert not {"prefect", "ray"} & modules, verb
    page = (tmp_path / "root" / "report.html").stat()
    for verb in ("ingest", "extract", "run"):
        modules = loaded(tmp_path / "modules.json", verb, settings_file)
        assert not (heavy | {"prefect", "ray"}) & modules, verb
    again = (tmp_path / "root" / "report.html").stat()
    assert (again.st_mtime_ns, again.st_ino) == (page.st_mtime_ns, page.st_ino)


def test_a_complete_fit_is_found_without_torch(tmp_path: Path) -> None:
    fit = ("train", "jifr", "--world", "users=30,items=20", "--root", tmp_path / "worlds", "-o", "epochs=1")
    assert "torch" in loaded(tmp_path / "modules.json", *fit)
    assert not {"torch", "matplotlib", "prefect"} & loaded(tmp_path / "modules.json", *fit)


def test_the_report_is_written_again_when_something_has_changed(settings_file: Path) -> None:
    settings = load(settings_file)
    assert report(settings).report_written
    assert not report(settings).report_written
    Outcomes(settings.root).write([Outcome("extract", "one.mkv", "failed", error_class="unknown")])
    assert report(settings).report_written
    page = Path(report(settings).report)
    page.write_text(page.read_text().replace("reelmill-state", "other"))
    assert report(settings).report_written


def test_known_specs_are_of_these_settings_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mean.npy").write_bytes(b"1")
    network = f"c3d: {{weights: random, mean_file: {tmp_path / 'mean.npy'}}}"
    settings = load(None, [f"root={tmp_path / 'root'}", f"extract.extractors={{{network}, topics: {{topics: 2}}}}"])
    spec = Spec("c3d", "fc6", 8, "segment", weights="random-0", weights_sha256="ab")
    assert known_specs.recall(settings) is None
    known_specs.remember(settings, [[spec]])
    assert known_specs.recall(settings) == [[spec]]
    for other in ("extract.precision=float32", "segments.segment_ms=1000", "extract.extractors={c3d: {windows: 1}}"):
        assert known_specs.recall(load(None, [f"root={tmp_path / 'root'}", other])) is None
    assert known_specs.recall(settings.model_copy(update={"root": str(tmp_path / "other")})) == [[spec]]
    (tmp_path / "mean.npy").write_bytes(b"22")
    assert known_specs.recall(settings) is None
    text = Spec("topics", "lda", 2, "video")
    known_specs.remember_text(settings, "topics", [text])
    assert known_specs.recall_text(settings, "topics") == [text]
    assert known_specs.recall_text(settings.model_copy(update={"root": str(tmp_path / "other")}), "topics") is None
    (tmp_path / "root" / "encoders" / "topics-1f0c22ab").mkdir(parents=True)
    (tmp_path / "root" / "encoders" / "topics-1f0c22ab" / "part-1796069430548049-1728418a.npz").write_bytes(b"")
    assert known_specs.recall_text(settings, "topics") is None
    for file in (tmp_path / "cache" / "specs").iterdir():
        file.write_text("[[{")
    assert known_specs.recall_text(settings, "topics") is None


def test_a_job_is_executed_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def job(settings: Settings, executor: Executor, what: str) -> tuple[str, Executor, str]:
        return settings.root, executor, what

    assert execute(job, load(None, ["root=/r"]), "this") == ("/r", IN_THIS_PROCESS, "this")
