"""Settings that every recommender has. Imports no torch: a command that only names runs reads settings alone."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

from reelmill.storage.errors import InputError, nearest

LARGEST = (1 << 63) - 1
"""Largest whole number of any setting: that of int64."""
WIDEST = 1 << 16
"""Largest dimension, or number of layers, heads or negatives: more fits no memory."""
AUTO = "auto"
"""Default of a setting of type `float | str`: a number that is found in the data (`FitSettings.found_in`)."""
EXAMPLES = {int: ", such as 10", float: ", such as 0.5 or 1e-3", bool: ", true or false"}
"""{type: examples for its error message}"""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Settings of every fit. A recommender adds its own, or changes these defaults."""

    seed: int = 0
    """Of the split, the initial weights, the batches and the bootstrap. Equal seeds, equal results."""
    epochs: int = 200
    """At most so many passes over the training examples."""
    patience: int = 20
    """Stop after so many epochs without a better validation metric; 0 never stops early."""
    batch: int = 50
    """Training examples per step."""
    learning_rate: float = 1e-3
    """Of the optimiser: Adam, unless the recommender's settings name another one."""

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(field.name, getattr(self, field.name))
        self.at_least(seed=0, epochs=1, patience=0, batch=1)
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate {self.learning_rate}: must be above 0, try 1e-3")

    def at_least(self, **least: float) -> None:
        """Raise InputError if a setting is smaller than the number given here."""
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise InputError(f"{name} {getattr(self, name)}: must be at least {bound}")

    def at_most(self, **most: float) -> None:
        """Raise InputError if a setting is larger than the number given here."""
        for name, bound in most.items():
            if not getattr(self, name) <= bound:
                raise InputError(f"{name} {getattr(self, name)}: must be at most {bound}")

    def one_of(self, **choices: Sequence[str]) -> None:
        """Raise InputError if a setting is none of the words given here."""
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} {value!r}: {nearest(str(value), list(known))}")

    def leaves_training(self, validation: float, test: float, most: float | None = None) -> None:
        """Raise InputError unless these shares leave something to train on: together at most `most`; without it, less
        than everything, with something to test on."""
        if most is not None and not validation + test <= most:
            raise InputError(
                f"validation_share {validation} and test_share {test}: together at most {most}, so that something is "
                "left to train on"
            )
        if most is None and not 0 < test < 1 - validation:
            raise InputError(
                f"test_share {test} with validation_share {validation}: must be above 0 and leave something to train on"
            )

    def found_in(self, data: Any) -> Self:
        """The same with every number that depends on the data. These are the settings of the run."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as in `settings.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`. A missing setting takes its default; an unknown one, or one of another type than its
        default, raises InputError."""
        kinds = {f.name: _kind(f, values.get(f.name)) for f in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in kinds:
                raise InputError(f"{cls.__name__} has no setting {name!r}: {nearest(name, list(kinds))}")
            given[name] = typed(name, kinds[name], value)
        return cls(**given)


def _kind(field: Field[Any], value: Any) -> type:
    """Type of a setting: that of its default, and of `float | str` a number unless the value is `AUTO`."""
    return float if field.type == float | str and value != AUTO else type(field.default)


def check_number(name: str, value: Any) -> None:
    """Raise InputError for NaN, infinity, and a whole number that int64 cannot hold."""
    if isinstance(value, float) and not isfinite(value):
        raise InputError(f"{name} {value}: must be a finite number")
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise InputError(f"{name} {value}: must be from {-LARGEST} to {LARGEST}")


def typed(name: str, kind: type, value: Any) -> Any:
    """The value of a setting of this type. A number with a fraction may be given as a whole one, or as the text that
    YAML makes of 1e-3. Raises InputError for another type, and as `check_number` does."""
    check_number(name, value)
    if kind is float and type(value) in (int, str):
        with suppress(ValueError):
            value = float(value)
            check_number(name, value)
    if type(value) is not kind:
        raise InputError(f"{name} {value!r}: must be of type {kind.__name__}{EXAMPLES.get(kind, '')}")
    return value
