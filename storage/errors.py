"""The root of every error that reelmill raises on purpose.

    ReelmillError
    ├── InputError          a setting, argument or input file is not valid
    ├── StoreError
    │   ├── CorruptPart     a part file is damaged
    │   ├── SpecMismatch    features of two specs would be mixed
    │   ├── MissingFeatures a video or segment asked for is not in the store
    │   └── Unreachable     an object store refuses or does not answer
    └── VideoError          one video could not be processed (the tree is in `pipeline/errors.py`)

A message names the value, what is wrong with it, and what to do next.
"""


class ReelmillError(Exception):
    """Base of every error that reelmill raises on purpose."""


class InputError(ReelmillError):
    """A setting, argument or input file is not valid."""


class StoreError(ReelmillError):
    """A table or feature store cannot be read or written."""


class CorruptPart(StoreError):
    """A part file is damaged: it cannot be read, or does not match its checksum."""


class SpecMismatch(StoreError):
    """Features of two specs would be mixed."""


class MissingFeatures(StoreError):
    """A video or segment asked for is not in the store."""


class Unreachable(StoreError):
    """An object store refuses or does not answer."""

    error_class = "unreachable"
    permanent = False


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """`did you mean 'X'?` for a misspelt name, else the list of known names."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
