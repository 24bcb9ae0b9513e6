"""What TensorBoard shows of a fit, read back from its event files."""

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from reelmill.models import fit
from reelmill.models.fit import FitResult
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.jifr.world import World, write
from reelmill.storage.errors import InputError

WORLD = World(users=60, items=40, features=12)
SETTINGS = JIFRSettings(dim=4, hidden=4, epochs=5, batch=200, test_negatives=20, test_repeats=2)


def train(root: Path, killed_after: int = 0, **options: object) -> FitResult | None:
    """Fit the small world; None if it was killed after an epoch."""
    stores = write(root, WORLD) if not root.exists() else {"frames": next((root / "features").iterdir()).name}

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    try:
        return fit.train(root, stores, SETTINGS, model="jifr", pictures=False, on_epoch=kill, **options)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        return None


def told(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    result = train(tmp_path_factory.mktemp("logs") / "root")
    assert result is not None
    return result


def test_the_log_has_what_the_history_has(fitted: FitResult) -> None:
    with (fitted.folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    log = told(fitted.folder)
    tags = {"loss/loss": "loss", "loss/bpr": "bpr", "loss/l2": "l2", "time/epoch_s": "seconds"}
    tags |= {f"validation/item_{name}@15": f"validation_item_{name}@15" for name in ("hr", "ndcg")}
    assert {tag for tag in log.Tags()["scalars"] if not tag.startswith("test/")} == set(tags)
    for tag, column in tags.items():
        points = log.Scalars(tag)
        assert [p.step for p in points] == [1, 2, 3, 4, 5]
        assert [p.value for p in points] == pytest.approx([float(row[column]) for row in history], rel=1e-6)


def test_the_test_figures_stand_beside_the_settings(fitted: FitResult) -> None:
    log = told(fitted.folder)
    own = {row["metric"]: row["mean"] for row in fitted.metrics["rows"] if row["row"] == "jifr"}
    assert len(own) > 10
    for metric, mean in own.items():
        assert [p.value for p in log.Scalars(f"test/{metric}")] == pytest.approx([mean], rel=1e-6)
    start = log.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["dim"].number_value == 4
    assert settings["objective"].string_value == "log_sigmoid"


def test_a_fit_that_was_killed_twice_has_each_epoch_once(tmp_path: Path, fitted: FitResult) -> None:
    """The second kill comes two epochs after the checkpoint: they are in the log, and trained again."""
    root = tmp_path / "root"
    assert train(root, killed_after=1, save_every_s=0) is None
    assert train(root, killed_after=3, save_every_s=1e9) is None
    folder = root / "runs" / fitted.folder.name
    assert [p.step for p in told(folder).Scalars("loss/loss")] == [1, 2, 3]
    assert train(root) is not None
    resumed, unbroken = told(folder), told(fitted.folder)
    # Sorted: the order of two event files of one second is that of their process-wide counters as words (10, 9).
    kept, whole = (
        {kind: sorted(tags) if isinstance(tags, list) else tags for kind, tags in log.Tags().items()}
        for log in (resumed, unbroken)
    )
    assert kept == whole
    for tag in unbroken.Tags()["scalars"]:
        if tag != "time/epoch_s":
            first, second = ([(p.step, p.value) for p in log.Scalars(tag)] for log in (unbroken, resumed))
            assert first == second
    times = [p.wall_time for p in resumed.Scalars("loss/loss")]
    assert times == sorted(times)
    spent = [p.value for p in resumed.Scalars("time/epoch_s")]
    assert times[-1] - times[0] == pytest.approx(sum(spent[1:]), abs=0.05)  # no gap where it was killed


def test_fitting_again_leaves_the_log_alone(fitted: FitResult) -> None:
    before = {p.name: p.read_bytes() for p in fitted.folder.glob("events*")}
    again = train(fitted.folder.parents[1])
    assert again is not None
    assert again.skipped
    assert {p.name: p.read_bytes() for p in fitted.folder.glob("events*")} == before
    assert len(before) == 2


def test_no_log_on_request_and_a_wrong_name_is_refused(tmp_path: Path, fitted: FitResult) -> None:
    result = train(tmp_path / "root", logger="none")
    assert result is not None
    assert not [*result.folder.glob("events*")]
    assert result.metrics["rows"] == fitted.metrics["rows"]  # neither logging nor drawing changes a number
    with pytest.raises(InputError, match=r"logger 'tensorbord': did you mean 'tensorboard'\?"):
        fit.train(tmp_path / "nowhere", logger="tensorbord")
