"""Hooks of MkDocs: hand over the pages where they lie, and make a page of reference for each module."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

HOUSE = Path(__file__).resolve().parents[1]
ROOMS = ("storage", "pipeline", "extractors", "models", "flows")
ELSEWHERE = {".github/CONTRIBUTING.md": "contributing.html", "CHANGELOG.md": "changelog.html"}
"""Pages that stand at another place in the site, where no folder's name begins with a dot."""


def modules(room: str) -> list[str]:
    """`reelmill.storage.features` and so on: every module of a room but those whose names begin with `_`."""
    files = [path.relative_to(HOUSE).as_posix() for path in (HOUSE / room).rglob("*.py")]
    names = [file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files]
    return sorted(f"reelmill.{name}" for name in names if "._" not in name)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference to the navigation, before the pages about the project itself."""
    reference: list[dict[str, Any]] = [{room: [f"reference/{name}.md" for name in modules(room)]} for room in ROOMS]
    assert config.nav is not None
    config.nav.insert(-1, {"Reference": reference})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the READMEs, the pictures, and a page for each module."""
    readmes = [path for room in (*ROOMS, "tests") for path in (HOUSE / room).rglob("README.md")]
    pictures = (HOUSE / ".docs" / "pictures").iterdir()
    for path in [HOUSE / "README.md", *(HOUSE / name for name in ELSEWHERE), *readmes, *pictures]:
        name = path.relative_to(HOUSE).as_posix()
        file = File.generated(config, name, abs_src_path=str(path))
        if name in ELSEWHERE or path.parent.name == "pictures":
            file.dest_uri = ELSEWHERE.get(name, f"pictures/{path.name}")
        files.append(file)
    for room in ROOMS:
        for module in modules(room):
            title = module.removeprefix(f"reelmill.{room}.") if module.count(".") > 1 else module
            content = f"---\ntitle: {title}\n---\n\n::: {module}\n"
            files.append(File.generated(config, f"reference/{module}.md", content=content))
    return files
