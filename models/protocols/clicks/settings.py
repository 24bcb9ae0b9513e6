"""Settings that all models of click-through over fields share."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from reelmill.models.core.settings import AUTO, WIDEST, FitSettings
from reelmill.models.data.scale import Scale
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FieldSettings(FitSettings):
    """Shared by all models over fields."""

    patience: int = 10
    """RecBole's. After some ten epochs these models learn the training examples by heart."""
    batch: int = 2048
    """The paper names none; RecBole's."""
    dim: int = 16
    """D, of every field (figure 4 varies it)."""
    pooling: Literal["mean", "sum"] = "mean"
    """Of the codes of a field with many: eq. 6 divides by their number q."""
    init_std: float = 0.01
    """Of the field vectors. The paper names none. On half of MovieLens-1M (one seed), best validation AUC at 0.01 and
    0.1: DeepFM .889 and .878 in ten epochs, the multimodal model on basic fields .886 and .881 in eight."""
    l2: float = 0.0
    """On the field vectors in the batch. The paper names none."""
    fields: str = ""
    """Names of the fields to read, such as "user_id,item_id,tags"; none named: all there are."""
    liked: float | str = AUTO
    """Ratings from here on are clicks. By default by the scale of the ratings seen: 4 of 5, 8 of 10, 1 of 0 and 1.
    Events that are no ratings are all clicks."""
    disliked: float | str = AUTO
    """Ratings below are none: by default 3 of 5, 6 of 10. Those between the two are left out (3 stars of MovieLens; the
    paper does not say)."""
    negatives: Literal["auto", "rated", "sampled"] = "auto"
    """`rated`: what was rated low. `sampled`: items drawn evenly from those that the user did not click, anew in each
    epoch. `auto`: rated if the events are ratings, else sampled."""
    per_click: int = 1
    """Sampled negatives a click."""
    split: Literal["random", "time", "given"] = "random"
    """Of the examples, or of the clicks where negatives are sampled. `time`: the newest are the test, those before them
    validate. `given`: an event belongs to its source, which is called train, validation or test."""
    validation_share: float = 0.1
    """RecBole's 8/1/1, and so the next one; `given` needs neither. The paper names none."""
    test_share: float = 0.1
    """Of the examples."""
    drop_items: float = 0.0
    """Share of the examples of a batch that lose their item id, so that the model learns to do without. In training no
    item id is ever missing, and an item that is new in the test is a shift."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(dim=1, init_std=0, l2=0, per_click=1, validation_share=0, test_share=0, drop_items=0)
        self.at_most(dim=WIDEST, per_click=WIDEST)
        self.at_most(drop_items=1)
        if isinstance(self.liked, float) and isinstance(self.disliked, float):
            self.at_most(disliked=self.liked)
        self.one_of(pooling=("mean", "sum"), negatives=("auto", "rated", "sampled"), split=("random", "time", "given"))
        self.leaves_training(self.validation_share, self.test_share)

    def found_in(self, data: Any) -> Self:
        """With the thresholds of the ratings' scale. Raises InputError if it is not known."""
        if AUTO not in (self.liked, self.disliked):
            return self
        scale = Scale.of(data.value) if data.rated else None
        liked, disliked = scale.thresholds() if scale is not None else (4.0, 3.0)
        liked = liked if self.liked == AUTO else float(self.liked)
        return replace(self, liked=liked, disliked=min(disliked, liked) if self.disliked == AUTO else self.disliked)


def widths_of(hidden: str) -> list[int]:
    """Widths of a perceptron's hidden layers from a setting such as "128-64". Raises InputError."""
    widths = hidden.split("-")
    if not all(re.fullmatch("[0-9]{1,9}", width) and 0 < int(width) <= WIDEST for width in widths):
        raise InputError(
            f"hidden {hidden!r}: must be the widths of the layers, for example 128-64, each up to {WIDEST}"
        )
    return [int(width) for width in widths]
