"""Every page against the code: links and anchors, Python and settings in code blocks, commands, keys, module names.

The pages are the README of the house and of each room, CHANGELOG.md and CONTRIBUTING.md. `.docs/` makes a site of them.
"""

import ast
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from rich.console import Console

from reelmill.extractors import registry as extractors
from reelmill.flows.cli import plan
from reelmill.flows.cli.help import EXIT_STATUSES
from reelmill.flows.cli.main import app
from reelmill.flows.jobs.check import check_train
from reelmill.flows.jobs.plan import ExtractPlan, PlanResult, StagePlans, StorePlan
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings, keys_of
from reelmill.models import registry as recommenders

HOUSE = Path(__file__).parents[1]
ROOMS = ("storage", "pipeline", "extractors", "models", "flows", "tests")
PAGES = [
    *(HOUSE / name for name in ("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md")),
    *sorted(path for room in ROOMS for path in (HOUSE / room).rglob("README.md")),
]
README = PAGES[0].read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND: Any = typer.main.get_command(app)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOUSE).as_posix())


@cache
def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [code for name, code in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


@cache
def anchors(page: Path) -> set[str]:
    """What a link can point to within a page: its headings, as GitHub and the site write them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


# ---- what pages point to ---------------------------------------------------------------------------------------------


def test_every_room_has_a_page() -> None:
    assert {page.parent.name for page in PAGES} >= set(ROOMS)
    assert README.count("\n") <= 250
    for page in PAGES[3:]:
        assert f"({page.relative_to(HOUSE).as_posix()})" in README, f"README.md does not lead to {page}"


@pages
def test_links_and_anchors_resolve(page: Path) -> None:
    wrong = []
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.is_file():
            wrong.append(f"{target}: no such file")
        elif anchor and (there not in PAGES or anchor not in anchors(there)):
            wrong.append(f"{target}: no such heading in {there.name}")
    assert not wrong, "\n".join(wrong)


@pages
def test_links_stay_among_the_pages(page: Path) -> None:
    """So that the site, which holds pages and pictures and no source files, has every one of them."""
    for target in LINK.findall(prose(page)):
        if "://" not in target and (path := target.partition("#")[0]):
            there = (page.parent / path).resolve()
            assert there in PAGES or there.parent == HOUSE / ".docs" / "pictures", target


# ---- words -----------------------------------------------------------------------------------------------------------


@pages
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    """`missing`, `unknown user`, `dimension`, `priority`, and users are `they`."""
    wrong = r"\b(?:she|her|hers|who is new|what lacks|lacks|numbers a row|most wanted|anew)\b"
    assert not re.findall(wrong, prose(page), re.IGNORECASE)


# ---- code blocks -----------------------------------------------------------------------------------------------------


@pages
def test_python_compiles_and_its_imports_exist(page: Path) -> None:
    """`test_contributing` runs the modules that a page itself shows, under the title of a code block."""
    own = re.findall(r'^```python title="([\w/]+?)(?:/__init__)?\.py"$', page.read_text(encoding="utf-8"), re.MULTILINE)
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                if node.module.removeprefix("reelmill.").replace(".", "/") in own:
                    continue
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):  # then it is a module
                        importlib.import_module(f"{node.module}.{alias.name}")


@pages
def test_settings_are_settings(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "yaml"):
        (tmp_path / "settings.yaml").write_text(text)
        chosen = load(tmp_path / "settings.yaml")
        assert chosen.source is not None
        check_train(chosen.train)
        assert yaml.safe_load(text)["root"]


# ---- the command line ------------------------------------------------------------------------------------------------


def spoken(page: Path) -> Iterator[str]:
    """Every `reelmill …` that a page says: lines of its shell blocks, and code within its sentences."""
    shell = "\n".join(blocks(page, "sh"))
    yield from re.findall(r"^(?:\w+=\S+ )*(reelmill .*)$", shell, flags=re.MULTILINE)
    yield from (span for span in SPAN.findall(prose(page)) if span.startswith("reelmill "))


def parse(line: str) -> None:
    """Raises for a verb or an option that does not exist. A missing argument is left to the reader."""
    verb, *arguments = shlex.split(line, comments=True)[1:]
    if verb.startswith("-"):
        verb, arguments = "", [verb, *arguments]
    command = COMMAND.commands[verb] if verb else COMMAND
    try:
        command.make_context(verb or "reelmill", arguments)
    except Exception as error:  # Typer has a click of its own inside, whose errors have no public name
        if type(error).__name__ not in ("MissingParameter", "Exit"):
            raise


@pages
def test_commands_are_commands(page: Path) -> None:
    for line in spoken(page):
        parse(line)


def test_the_parser_refuses_what_is_not_there() -> None:
    with pytest.raises(Exception, match="No such option: --no-such-option"):
        parse("reelmill train --no-such-option")
    with pytest.raises(Exception, match="requires an argument"):
        parse("reelmill status --root")
    with pytest.raises(KeyError):
        parse("reelmill nothing")


def test_the_readme_lists_every_verb_in_its_group_and_no_other() -> None:
    """As `reelmill --help` does."""
    listed, group = {}, ""
    for heading, verb in re.findall(
        r"^\| (?:\*\*([^*]+)\*\* \||`reelmill ([a-z]+)[^|]*\|)", README, flags=re.MULTILINE
    ):
        group = heading or group
        if verb:
            assert verb not in listed
            listed[verb] = group
    assert listed == {verb: command.rich_help_panel for verb, command in COMMAND.commands.items()}


def test_the_exit_statuses_are_those_of_the_command() -> None:
    page = (HOUSE / "flows" / "README.md").read_text(encoding="utf-8")
    table = page.split("| exit status | meaning |\n")[1].split("\n\n")[0]
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(EXIT_STATUSES)


def test_the_plan_is_shown_as_it_is_printed() -> None:
    page = (HOUSE / "flows" / "README.md").read_text(encoding="utf-8")
    stores = {"c3d-fc6-77fcfcca": 162e3, "c3d-conv5-cbe94876": 47.3e3, "logmel-stats-b0b11379": 39.1e3}
    cells = {name: StorePlan(there=0, videos=6, rows=8, bytes=round(size)) for name, size in stores.items()}
    work = ExtractPlan(
        videos=6, not_fetched=0, left=0, frames=675, segments=8, video_seconds=27.0, bytes=335_000, picture_bytes=0,
        load_seconds=1.2, seconds=96.0, stores=cells,
    )  # fmt: skip
    out = Console(file=io.StringIO(), width=100)
    plan.render(out, PlanResult("root", StagePlans(extract=work), 96.0, 335_000, "2026-11-27T08:13:00"))
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert printed.strip() in page, printed


@pages
def test_options_of_a_verb_exist(page: Path) -> None:
    """Options that a row of a table names behind its verb: `reelmill floors …` | …, `--data` as above."""
    for row in re.findall(r"^\| `reelmill .*$", prose(page), flags=re.MULTILINE):
        verb, *options = re.findall(r"`reelmill (\w+)|`(--[\w-]+)", row)
        known = {name for one in COMMAND.commands[verb[0]].params for name in one.opts}
        assert {option for _, option in options} <= known, row


@pages
def test_overrides_are_settings(page: Path) -> None:
    """`--set key=value`, and `REELMILL__KEY=value` of the environment, in what a page shows."""
    text = page.read_text(encoding="utf-8")
    chosen = [
        value for _, value in re.findall(r"--set (?P<quote>[\"']?)(\S+=.*?)(?P=quote)(?=[\s`)]|$)", text, re.MULTILINE)
    ]
    chosen += [
        f"{name.lower().replace('__', '.')}={value}" for name, value in re.findall(r"REELMILL__(\w+)=([^\s`]+)", text)
    ]
    for override in chosen:
        load(None, ["root=x", override])


@pages
def test_keys_of_settings_exist(page: Path) -> None:
    """`section.key`, in sentences and tables."""
    for span in SPAN.findall(prose(page)):
        section, _, key = span.partition(":")[0].partition(".")
        if section in Settings.model_fields and key.isidentifier():
            assert key in keys_of(Settings.model_fields[section].annotation), span


# ---- registries ------------------------------------------------------------------------------------------------------


def test_the_extractors_are_listed_with_their_layers() -> None:
    page = (HOUSE / "extractors" / "README.md").read_text(encoding="utf-8")
    table = page.split("<!-- extractors -->")[1].split("<!-- /extractors -->")[0]
    listed = {
        name: {layer: int(dim) for layer, dim in re.findall(r"`(\w+)` \((\d+)\)", rest)}
        for name, rest in re.findall(r"^\| `(\w+)` \|(.*)$", table, re.MULTILINE)
    }
    assert listed == {found.name: dict(found.layers) for found in extractors.descriptors()}


def test_the_recommenders_are_listed_with_the_stores_that_they_read() -> None:
    page = (HOUSE / "models" / "README.md").read_text(encoding="utf-8")
    table = page.split("<!-- recommenders -->")[1].split("<!-- /recommenders -->")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    listed = {name: dict(re.findall(r"`(\w+)`(?: \(([\w-]+)\))?", stores)) for name, stores in rows}
    assert listed == {name: dict(recommenders.find(name).roles) for name in recommenders.RECOMMENDERS}
    assert list(listed)[: len(recommenders.of_papers())] == recommenders.of_papers()


# ---- names -----------------------------------------------------------------------------------------------------------


@pages
def test_files_and_modules_exist(page: Path) -> None:
    for span in SPAN.findall(page.read_text(encoding="utf-8")):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)}|docker)/[\w./]*", span) and not span.endswith("/.env"):
            assert (HOUSE / span).exists(), span
        if found := re.fullmatch(r"(reelmill\.[a-z_.0-9]+)", span):
            importlib.import_module(found[1])
        if found := re.match(r"python -m tests\.benchmarks((?: [a-z]\w*)*)", span):
            for name in found[1].split():
                assert (HOUSE / "tests" / "benchmarks" / f"{name}.py").exists(), span
        if found := re.fullmatch(r"make ([a-z-]+)", span):
            assert re.search(rf"^{found[1]}:", (HOUSE / "Makefile").read_text(), re.MULTILINE), span


# ---- the site --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Strict: a link or an anchor that leads nowhere ends the build."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", HOUSE / ".docs" / "mkdocs.yml"]
    built = subprocess.run(
        [*command, "--site-dir", tmp_path / "site"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    html = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(html) > 100
    for path, text in html.items():
        assert not re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?(?:https?:)?//", text
        ), path
    for page in PAGES:
        (title,) = re.findall(r"\A# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert any(re.search(rf"<h1[^>]*>{re.escape(title)}<", text) for text in html.values()), title
