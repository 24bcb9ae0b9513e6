"""The promise: a recommender is registered by one line, and with nothing else touched it is in the command line, in the
report and in `recommend`. (The contract tests run over the same one, in `test_models`.)"""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reelmill.flows.cli.app import app
from reelmill.models.registry import RECOMMENDERS, Entry

KNOBS = "users=40,items=40,examples=30"


@pytest.fixture(autouse=True)
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECOMMENDERS, "toy", Entry("tests.models.toy:RECOMMENDER", "clicks, by a sum over fields"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def reelmill(*arguments: str) -> str:
    """What a command prints on stdout."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
    assert not done.exception, done.output
    return done.stdout


def test_a_toy_is_listed_fitted_reported_and_recommends(tmp_path: Path) -> None:
    assert json.loads(reelmill("train", "--list", "--json"))["toy"] == "clicks, by a sum over fields"
    assert "toy" in reelmill("train", "--list")

    command = ("train", "toy", "--world", KNOBS, "--root", str(tmp_path), "-o", "epochs=2")
    (fitted,) = json.loads(reelmill(*command, "--json"))["fits"].values()
    assert set(fitted["stores"]) == {"picture", "sound"}
    assert {"toy", "random"} <= {row["row"] for row in fitted["metrics"]}
    assert "skipped" in reelmill(*command)

    run = Path(fitted["folder"])
    root = run.parents[1]
    answer: dict[str, Any] = json.loads(reelmill("recommend", "--user", "u0001", "--root", str(root), "--json"))
    assert (answer["run"], answer["model"]) == (run.name, "toy")
    assert answer["recommended"]
    said = json.loads(reelmill("recommend", "--run", "toy", "--root", str(root), "--top", "1", "--json"))
    assert not said["user"]["known"]

    page = tmp_path / "report.html"
    reelmill("report", "--set", f"report={page}", "--root", str(root))
    assert f"toy on {root.name}" in page.read_text()


def test_a_misspelt_toy_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "toi", "--world", "default", "--root", str(tmp_path)])
    assert "did you mean 'toy'" in str(done.exception)
