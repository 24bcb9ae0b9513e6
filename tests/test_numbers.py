"""Numbers as people write them, for every numeric setting of every recommender and extractor and of the settings file:
read as what they mean, or refused with the setting's name, before any data is read."""

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from reelmill.extractors import registry as extractors
from reelmill.flows.jobs.check import check_train
from reelmill.flows.jobs.fits import choose
from reelmill.flows.settings.load import load, value
from reelmill.models import registry as recommenders
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage.errors import InputError


def numeric(name: str, registry: Any) -> list[tuple[Callable[..., Any], str, str, type]]:
    kind = registry.find(name).settings
    hints = get_type_hints(kind)
    found = []
    for field in fields(kind):
        members = getattr(hints[field.name], "__args__", (hints[field.name],))
        found += [(registry.settings_for, name, field.name, one) for one in members if one in (int, float)]
    return found


EVERY = [
    setting
    for registry, names in ((recommenders, recommenders.RECOMMENDERS), (extractors, extractors.EXTRACTORS))
    for name in names
    for setting in numeric(name, registry)
]
every_setting = pytest.mark.parametrize(
    ("read", "name", "setting", "kind"), EVERY, ids=[f"{name}-{setting}" for _, name, setting, _ in EVERY]
)
MAY_BE_LARGE = {
    "seed", "epochs", "patience", "batch", "known_months", "least", "least_videos", "least_watchers", "least_posts",
    "least_ratings", "history_size", "test_repeats", "steps", "sweeps",
}  # fmt: skip
"""Whole numbers that cost no memory: a thousand million of them is long, or leaves nothing to fit, which is told."""
WAYS = {"1e-3": 1e-3, "1E-3": 1e-3, "2e0": 2.0, "1.5e1": 15.0, "010": 10, "0.10": 0.1, ".5": 0.5, "+3": 3, "7": 7}
REFUSED = ["99999999999999999999", "-99999999999999999999", "nan", ".nan", "inf", "-.inf", "1e999", "1:30", "0x10",
           "many", "1_0_"]  # fmt: skip


def outcome(read: Callable[..., Any], name: str, setting: str, text: str) -> tuple[Any, str]:
    """The setting's value, or None and the message that refuses it."""
    try:
        return getattr(read(name, {setting: value(text)}), setting), ""
    except InputError as refused:
        return None, str(refused)


@every_setting
def test_a_number_means_what_people_mean_or_is_refused(
    read: Callable[..., Any], name: str, setting: str, kind: type
) -> None:
    for text, meant in WAYS.items():
        got, told = outcome(read, name, setting, text)
        assert (got == meant and type(got) is kind) if got is not None else setting in told


@every_setting
@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_number_or_no_size_is_refused_by_name(
    read: Callable[..., Any], name: str, setting: str, kind: type, text: str
) -> None:
    got, told = outcome(read, name, setting, text)
    assert setting in told or (kind is float and got == float(text) and math.isfinite(got))


@every_setting
def test_what_fits_no_memory_is_refused(read: Callable[..., Any], name: str, setting: str, kind: type) -> None:
    if kind is float or setting in MAY_BE_LARGE:
        assert kind is float or read(name, {}) is not None
        return
    with pytest.raises(InputError, match=setting):
        read(name, {setting: 1_000_000_000})


@pytest.mark.parametrize("hidden", ["1000000000", "64-99999999999999999999", "64-", "²"])
@pytest.mark.parametrize("name", ["deepfm", "multimodal"])
def test_widths_of_layers_too(name: str, hidden: str) -> None:
    with pytest.raises(InputError, match="hidden"):
        recommenders.settings_for(name, {"hidden": hidden})


def test_learning_rate_on_the_command_line_and_in_the_file(tmp_path: Path) -> None:
    """`-o learning_rate=1e-3`, and `l2: 1e-4` in the file: before, both were refused as texts."""
    file = tmp_path / "s.yaml"
    file.write_text("root: r\ntrain:\n  models:\n    bpr:\n      options: {l2: 1e-4, dim: 8}\n")
    chosen = choose(load(file), [], ["learning_rate=1e-3", "epochs=12"])
    settings = recommenders.settings_for("bpr", chosen.train.models["bpr"].options)
    assert (settings.to_dict()["l2"], settings.learning_rate, settings.epochs) == (1e-4, 1e-3, 12)
    for wrong in ("epochs=010", "seed=99999999999999999999", "dim=1000000000", "learning_rate=nan", "l2=inf"):
        with pytest.raises(InputError, match=wrong.partition("=")[0]):
            check_train(choose(load(file), [], [wrong]).train)


def test_numbers_of_the_file_itself() -> None:
    def loaded(key: str, text: str) -> Any:
        found: Any = load(None, ["root=r", f"{key}={text}"])
        for part in key.split("."):
            found = getattr(found, part)
        return found

    assert loaded("segments.segment_ms", "0800") == 800  # as 0100 was 64
    assert loaded("segments.theta", "1e-1") == 0.1
    assert loaded("extract.block", "1_000") == 1000
    assert loaded("serve.name", "007") == "007"  # a name is no number
    assert loaded("serve.name", "12:30") == "12:30"
    for key, text in (
        ("download.max_duration_s", ".inf"),
        ("download.max_seconds", ".nan"),
        ("download.backoff_s", "1e999"),
        ("download.memory_bytes", "99999999999999999999"),
        ("segments.segment_ms", "99999999999999999999"),
        ("segments.segment_ms", "1:30"),
        ("extract.workers", "0x10"),
    ):
        with pytest.raises(InputError, match=key.replace(".", r"(\.|: )")):
            loaded(key, text)
    assert math.isfinite(loaded("download.max_seconds", "1e3"))


def test_numbers_of_downloads_without_a_file() -> None:
    with pytest.raises(InputError, match="backoff_s nan: must not be negative"):
        DownloadOptions(backoff_s=math.nan)
    for wrong in (math.inf, math.nan, 1e300):
        with pytest.raises(InputError, match=r"max_duration_s .*: must be a finite number"):
            DownloadOptions(max_duration_s=wrong)
