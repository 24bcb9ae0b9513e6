"""Which ratings are likes follows the scale of the ratings seen, and is said in counts; a run whose thresholds are
those of older versions keeps its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelmill.models import train
from reelmill.models.baselines.fm import FMSettings
from reelmill.models.baselines.vbpr import BPRSettings
from reelmill.models.core.settings import AUTO
from reelmill.models.data.scale import Scale
from reelmill.models.protocols.clicks.cases import split
from reelmill.models.protocols.clicks.data import load_clicks
from reelmill.models.protocols.items_and_frames import data as items_and_frames
from reelmill.models.protocols.next_videos import data as next_videos
from reelmill.models.protocols.segments import videos
from reelmill.pipeline import dataset
from reelmill.storage import Root, Tables
from reelmill.storage.errors import InputError
from tests.choices import write_store
from tests.optional import need

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("seen", "thresholds"),
    [
        (range(1, 6), (4, 3)),  # MovieLens
        (np.arange(0.5, 5.5, 0.5), (4, 3)),  # MovieLens-latest
        ([0, 5], (4, 3)),
        ([4, 4.5], (4, 3)),
        (range(11), (8, 6)),  # MovieTweetings
        (np.arange(1, 10.5, 0.5), (8, 6)),
        ([0, 37, 99], (80, 60)),
        ([0, 1], (1, 1)),
        ([-1, 1], (1, 1)),
        ([-1, 0, 1], (1, 0)),
        ([1], (1, 1)),
    ],
)
def test_thresholds_follow_the_scale(seen: Any, thresholds: tuple[float, float]) -> None:
    scale = Scale.of(np.array([*seen, np.nan], np.float64))
    assert scale is not None
    assert scale.thresholds() == thresholds


@pytest.mark.parametrize("seen", [[-10, 9.5], [0.2, 0.7], [1, 20], [0, 1000], [-1, 5]])
def test_an_unknown_scale_is_asked_for(seen: list[float]) -> None:
    scale = Scale.of(np.array(seen, np.float64))
    assert scale is not None
    with pytest.raises(InputError, match=r"ratings from .* are of no known scale .* name liked"):
        scale.thresholds()


def test_no_rating_has_no_scale() -> None:
    assert Scale.of(np.array([np.nan])) is Scale.of(np.zeros(0)) is None


def rated(folder: Path, values: list[float], kind: str = "rating") -> Root:
    """20 users rate 12 items each, out of these values in turn."""
    rows = [
        {"user_id": f"u{u:02}", "video_id": f"v{(u + i) % 15:02}", "kind": kind, "source": "s",
         "source_row": 12 * u + i + 1, "value": values[(7 * u + i) % len(values)]}
        for u in range(20) for i in range(12)
    ]  # fmt: skip
    Tables(folder).write("events", rows)
    return Root(folder)


def counts(root: Root, **options: Any) -> dict[str, int]:
    return split(load_clicks(root), FMSettings(**options), np.random.default_rng(0)).counts


def test_ten_points_are_clicks_from_eight_on_and_the_counts_say_so(tmp_path: Path) -> None:
    """4 of 10 is no click."""
    found = counts(rated(tmp_path, [*map(float, range(11))]))
    assert found["ratings_of_8_or_more"] == found["clicks"] < 80
    assert found["ratings_below_6"] == found["low_ratings"] > 120
    assert found["clicks"] + found["low_ratings"] + found["ratings_between"] == 240


def test_what_is_told_is_taken(tmp_path: Path) -> None:
    root = rated(tmp_path, [*map(float, range(11))])
    assert counts(root, liked=4.0, disliked=4.0)["ratings_of_4_or_more"] > 140
    assert counts(root, liked=5.0)["ratings_below_5"] > 100, "none below more than what is liked"
    odd = rated(tmp_path / "odd", [-9.0, -1.0, 3.0, 8.5])
    with pytest.raises(InputError, match=r"ratings from -9 to 8\.5 are of no known scale"):
        counts(odd)
    assert counts(odd, liked=3.0, disliked=0.0)["clicks"] == 120


def test_zeros_of_a_binary_log_are_no_positives(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"model": "bpr", "logger": "none", "pictures": False}
    log = train(rated(tmp_path / "log", [1.0, 0.0, 0.0]), settings=BPRSettings(epochs=1, dim=4), **quiet)
    assert log.counts["rated_below_liked"] == 160
    stars = train(rated(tmp_path / "stars", [1.0, 3.0, 5.0]), settings=BPRSettings(epochs=1, dim=4), **quiet)
    assert stars.counts["rated_below_liked"] == 0


@pytest.mark.parametrize(("name", "settings"), [("fm", FMSettings), ("bpr", BPRSettings)])
def test_a_run_keeps_its_name_unless_its_thresholds_change(tmp_path: Path, name: str, settings: Any) -> None:
    """`liked` is a number in the settings of a run, on five stars that of older versions."""
    quiet: dict[str, Any] = {"model": name, "logger": "none", "pictures": False}
    root = rated(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0])
    old = {"fm": {"liked": 4.0, "disliked": 3.0}, "bpr": {"liked": 0.0}}[name]
    first = train(root, settings=settings(epochs=1, dim=4, **old), **quiet)
    assert settings().liked == AUTO
    again = train(root, settings=settings(epochs=1, dim=4), **quiet)
    assert again.skipped
    assert again.folder == first.folder


def test_options_are_numbers_or_auto() -> None:
    assert FMSettings.from_dict({"liked": 7, "disliked": "6.5"}).liked == 7.0
    assert FMSettings.from_dict({"liked": "auto", "negatives": "rated"}).liked == AUTO
    with pytest.raises(InputError, match="liked 'much': must be of type float"):
        FMSettings.from_dict({"liked": "much"})
    assert FMSettings.from_dict(FMSettings(liked=4.0).to_dict()) == FMSettings(liked=4.0)


def test_movietweetings(tmp_path: Path) -> None:
    table = next(DATA.glob("movietweetings*/ratings*"), DATA / "none")
    need("data", table.exists())
    dataset.read(tmp_path, table.parent)
    found = counts(Root(tmp_path))
    assert found["ratings_of_8_or_more"] == found["clicks"]
    assert 0.4 < found["clicks"] / sum(found[n] for n in ("clicks", "low_ratings", "ratings_between")) < 0.6
    assert found["low_ratings"] > 8_000


@pytest.mark.parametrize("values", [[1.0, 0.0, 0.0], [1.0, -1.0, -1.0]])
def test_what_was_shown_and_not_clicked_is_not_chosen_where_any_rating_is(tmp_path: Path, values: list[float]) -> None:
    """JIFR, whole videos and histories take any rating: of stars all of them, of a binary log the ones."""
    log, stars = rated(tmp_path / "log", values), rated(tmp_path / "stars", [1.0, 2.0, 5.0])
    for root, chosen in ((log, 80), (stars, 240)):
        events = Tables(root).read("events")
        dated = events.set_column(events.column_names.index("time"), events.schema.field("time"),
                                  events["source_row"].cast(events.schema.field("time").type))  # fmt: skip
        Tables(root).write("events", dated)
        store = write_store(Path(root.address), {f"v{v:02}": np.eye(15)[[v]] for v in range(15)}, rows="video")
        frames = write_store(Path(root.address), {f"v{v:02}": np.eye(15)[[v, 14 - v]] for v in range(15)})
        whole, histories, items = videos.load(root, store), next_videos.load(root), items_and_frames.load(root, frames)
        assert len(whole.positive_user) == histories.counts.watches == len(items.user) == chosen
        for data in (whole, histories, items):
            (account,) = (a for a in data.accounts if a.what == "events")
            assert account.balanced
            assert account.left_out["ratings_that_say_no"] == 240 - chosen
