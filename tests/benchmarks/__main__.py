"""`python -m tests.benchmarks [name …]`: every benchmark of this folder, or those named."""

import sys
from importlib import import_module
from pathlib import Path

from tests.benchmarks import machine

known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))
chosen = sys.argv[1:] or known
if unknown := [name for name in chosen if name not in known]:
    sys.exit(f"there is no benchmark {unknown[0]!r}; known: {', '.join(known)}")
print(machine())
for name in chosen:
    import_module(f"tests.benchmarks.{name}").main()
