"""Kinds of values that sections of the settings share: paths, addresses, and a section itself."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, SecretStr, model_validator

from reelmill.storage.errors import InputError
from reelmill.storage.place import place

LOGIN = re.compile(r"(^|//)[^/?#\s]*@")
"""User name and password in an address."""


def home(text: str) -> str:
    """Expand `~` and `~user`, as a shell does."""
    return os.path.expanduser(text)  # noqa: PTH111 (that of Path raises for an unknown user)


def local_path(value: Any) -> Any:
    """A path on this machine, `~` expanded. Raises ValueError for a URL, before Path turns its `//` into `/`."""
    if isinstance(value, str) and "://" in value and not value.startswith("file://"):
        raise ValueError("must be a path on this machine, not a URL")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a path cannot contain a NUL character")
    return home(value.removeprefix("file://")) if isinstance(value, str) else value


def _anywhere(value: Any) -> Any:
    """A path on this machine, `~` expanded, or the URL of an object store. Raises ValueError if it cannot be a root."""
    text = str(value) if isinstance(value, Path) else value
    if isinstance(text, bytes):  # YAML's !!binary, which pydantic would take for text unchecked
        raise ValueError("must be text")
    if not isinstance(text, str):
        return text
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL character")
    try:
        return str(place(home(text)))
    except InputError as error:
        raise ValueError(str(error)) from None


AnyPlace = Annotated[str, BeforeValidator(_anywhere)]


def _veiled(address: str | None) -> str | None:
    """An address without its user name and password: Prefect stores the parameters of its flows as JSON."""
    return None if address is None else LOGIN.sub(r"\1***@", address)


MASKED = str(SecretStr("any"))
"""What is shown in place of a secret."""
Address = Annotated[str | None, PlainSerializer(_veiled, when_used="json")]

LocalPath = Annotated[Path, BeforeValidator(local_path)]
Table = BeforeValidator(lambda value: {} if value is None else value)


class Section(BaseModel):
    """A part of the settings. Unknown keys are refused; the docstring below a field is its description."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_written(cls, value: Any) -> Any:
        """A section with nothing after its colon has the defaults."""
        return {} if value is None else value
