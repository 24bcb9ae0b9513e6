"""The script `reelmill`: the command line, or one line that says which extra to install for it."""

import sys
from importlib.metadata import requires

DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "upath": "universal-pathlib", "yaml": "pyyaml"}
"""Where a package is not installed under the name that it is imported by."""


def extras_with(module: str) -> list[str]:
    """The extras of reelmill that install a module, the narrowest first; none of a module that no extra names."""
    top = module.partition(".")[0]
    distribution = DISTRIBUTIONS.get(top, top.replace("_", "-")).lower()
    found = []
    for line in requires("reelmill") or ():
        requirement, _, marker = line.partition(";")
        name = requirement.strip().split("[")[0]
        for symbol in "<>=!~ ":
            name = name.split(symbol)[0]
        if name.lower() == distribution and 'extra == "' in marker:
            found.append(marker.split('extra == "')[1].split('"')[0])
    return found


def main() -> None:
    """Run the command line. A base install has none of it, and a single extra not all of it."""
    try:
        from reelmill.flows.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        extras = extras_with(error.name or "")
        if not extras:
            raise
        extra = "all" if "cli" in extras else extras[0]
        message = f"{error.name} is not installed: pip install 'reelmill[{extra}]'"
        sys.exit(f"error: {message}" + (" (or only what you need of it, see the README)" if extra == "all" else ""))
