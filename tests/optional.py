"""What not every machine has: its tests are skipped where it is missing, and fail there once REELMILL_REQUIRE names it.

CI installs a part and then says `REELMILL_REQUIRE=torchcodec,postgres`: a test that is skipped by mistake is seen.
"""

import os

import pytest

PARTS = {
    "bfloat16": "a processor with bfloat16 instructions; this one emulates them, a minute a window",
    "compiler": "a C++ compiler, for torch.compile (Debian: g++)",
    "cuda": "a CUDA device",
    "data": "the published tables and clips in ../shared/data",
    "mount": "the right to mount a small disk (root)",
    "postgres": "PostgreSQL with pg_trgm (Debian: postgresql)",
    "torchcodec": "FFmpeg's shared libraries, for torchcodec (Debian: libavcodec, libavdevice, libavfilter …)",
}
REQUIRED = frozenset(filter(None, os.environ.get("REELMILL_REQUIRE", "").split(",")))
if unknown := REQUIRED - PARTS.keys():
    raise ValueError(f"REELMILL_REQUIRE: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")


def needs(part: str, available: bool) -> pytest.MarkDecorator:
    """A mark: skip the test if this part is not available and not required."""
    return pytest.mark.skipif(not available and part not in REQUIRED, reason=f"needs {PARTS[part]}")


def need(part: str, available: bool) -> None:
    """The same inside of a test or fixture."""
    if not available:
        (pytest.fail if part in REQUIRED else pytest.skip)(f"needs {PARTS[part]}")
