"""The command line as people expect it: help, version, completion, settings and root, exit statuses, `--json`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reelmill.flows.cli import main as cli
from reelmill.flows.cli.app import GROUPS, app
from reelmill.flows.cli.help import EXIT_STATUSES
from reelmill.flows.cli.job import find_root, load_settings
from reelmill.storage import Outcome, Outcomes, Tables
from reelmill.storage.errors import InputError

REELMILL = Path(sys.executable).with_name("reelmill")
VERBS = sorted(verb.__name__ for verbs in GROUPS.values() for verb in verbs)
HEAVY = {
    "torch", "prefect", "pyarrow", "pydantic", "yaml", "numpy", "h5py", "fsspec", "upath", "av", "yt_dlp", "sklearn",
    "matplotlib", "librosa", "gensim", "ray", "duckdb",
}  # fmt: skip


def ran(*arguments: str | Path, folder: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as its own process, its output no terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELMILL__")}
    command = [str(REELMILL), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, env={**kept, **env}, check=False
    )


def test_help_is_light_and_names_every_verb_in_its_group() -> None:
    code = (
        "import sys; from reelmill.flows.cli.main import main\n"
        "try: main()\n"
        f"finally: print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    for arguments in ([], ["run"], ["train"], ["init"], ["sql"]):
        ended = subprocess.run(
            [*command, *arguments, "--help"], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "TERMINAL_WIDTH": "100"},
        )  # fmt: skip
        typers = "['pydantic']" if arguments else "[]"  # Typer reads the arguments of a verb with it
        assert (ended.returncode, ended.stderr) == (0, f"{typers}\n"), arguments
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    for group, verbs in GROUPS.items():
        panel = text.split(f"─ {group} ─")[1].split("╰")[0]
        assert re.findall(r"^│ ([a-z]+) ", panel, flags=re.MULTILINE) == [verb.__name__ for verb in verbs]
    for said in (
        "Settings and root:",
        "settings.yaml",
        *(f"{status} {EXIT_STATUSES[status]}" for status in EXIT_STATUSES),
    ):
        assert said in " ".join(text.split())


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    for option in ("--version", "-V"):
        ended = CliRunner().invoke(app, [option])
        assert (ended.exit_code, ended.stdout) == (0, f"reelmill {version('reelmill')}\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert len(command.help or "") > 20
    options = {name: param for param in command.params for name in param.opts}
    assert "--json" in options
    assert not [name for name, param in options.items() if not getattr(param, "help", None)]
    for name in ("--help", "-h"):
        ended = CliRunner().invoke(app, [verb, name])
        assert ended.exit_code == 0
        assert "<bool>" not in ended.stdout
    if "--root" in options and verb != "init":
        assert "settings_file" in {param.name for param in command.params}, "SETTINGS and --root go together"


# Completion


def completed(shell: str, typed: str) -> str:
    """What a shell is told when TAB is pressed after `typed`."""
    env = {
        "_REELMILL_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": typed,
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": typed.split(" ")[-1],
    }
    return ran(**env).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_verbs_options_and_values(shell: str) -> None:
    for typed, told in (
        ("reelmill st", ["status"]),
        ("reelmill re", ["report", "retry", "recommend"]),
        ("reelmill status --r", ["--root"]),
        ("reelmill plan --order sh", ["shortest"]),
        ("reelmill export x --format h", ["hdf5"]),
        ("reelmill weights f", ["fetch"]),
        ("reelmill train trans", ["transgrec"]),
        ("reelmill backfill --extractor i3d_s", ["i3d_sound"]),
    ):
        said = completed(shell, typed)
        assert all(word in said for word in told), (typed, said)
        assert "verify" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_by_the_script_that_is_shown(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    script = ran(_REELMILL_COMPLETE=f"source_{shell}").stdout
    assert "reelmill" in script
    path = f"{REELMILL.parent}{os.pathsep}{os.environ['PATH']}"
    if shell == "bash":
        after = 'COMP_WORDS=(reelmill st); COMP_CWORD=1; _reelmill_completion reelmill; echo "${COMPREPLY[@]}"'
        flags = ["--norc", "--noprofile"]
    elif shell == "fish":
        after, flags = "complete --do-complete 'reelmill st'", ["--no-config"]
    else:
        after, flags = "functions _reelmill_completion >/dev/null && echo status", ["-f"]
        script = f"autoload -Uz compinit && compinit -D\n{script}"
    done = subprocess.run(
        [shell, *flags, "-c", f"{script}\n{after}"], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert "status" in done.stdout.split(), done


def test_completion_is_installed_by_one_option(tmp_path: Path) -> None:
    shell = shutil.which("bash")
    assert shell is not None
    command = f"{REELMILL} --install-completion bash || {REELMILL} --install-completion; true"
    subprocess.run([shell, "-c", command], capture_output=True, timeout=60, check=True,
                   env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
    assert "reelmill" in (tmp_path / ".bashrc").read_text()


# Settings and root


def test_one_rule_finds_settings_and_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REELMILL__")]:
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="no settings and no root: give SETTINGS or --root"):
        load_settings(None, None, ())
    assert load_settings(None, None, (), makes_root=True).root == "reelmill"
    assert load_settings(None, None, ["root=typed"]).root == "typed"
    (tmp_path / "reelmill").mkdir()
    assert (load_settings(None, None, ()).root, find_root(None, None)) == ("reelmill", "reelmill")
    (tmp_path / "settings.yaml").write_text("root: here\nextract: {workers: 2}\n")
    (tmp_path / "other.yaml").write_text("root: there\nextract: {workers: 3}\n")
    for file, root, found, workers in (
        (None, None, str(tmp_path / "here"), 2),
        (Path("other.yaml"), None, str(tmp_path / "there"), 3),
        (Path("other.yaml"), "given", "given", 3),
        (None, "given", "given", 1),  # a root without settings means no settings
    ):
        chosen = load_settings(file, root, ())
        assert (chosen.root, chosen.extract.workers) == (found, workers)
    monkeypatch.setenv("REELMILL__ROOT", "environment")
    assert load_settings(None, None, ()).root == "environment"
    assert load_settings(None, "given", ()).root == "given"
    with pytest.raises(InputError, match="root 'environment' is not a folder"):
        find_root(None, None)


@pytest.mark.parametrize("arguments", [["status"], ["status", "settings.yaml"], ["status", "--root", "mill"]])
def test_a_root_is_named_by_settings_or_by_option(tmp_path: Path, arguments: list[str]) -> None:
    Tables(tmp_path / "mill").write("videos", [{"video_id": "v", "url": None}])
    (tmp_path / "settings.yaml").write_text("root: mill\n")
    ended = ran(*arguments, "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["tables"]["videos"] == 1


# Exit statuses, and what programs get


def test_exit_statuses_are_those_of_the_list(tmp_path: Path) -> None:
    """129, 130 and 143 are tested where work is stopped: tests/flows/test_interrupt.py, tests/flows/test_cli.py."""
    assert EXIT_STATUSES.keys() == {0, 1, 2, 129, 130, 143}
    root, clip = tmp_path / "root", tmp_path / "clip.mp4"
    clip.write_bytes(b"no video")
    Tables(root).write("videos", [{"video_id": "v", "url": str(clip)}])
    first, again = (ran("ingest", "--root", root, "--json", "--set", "retry_failed=false") for _ in range(2))
    assert (first.returncode, json.loads(first.stdout)["new_failures"]) == (1, ["download: v"])
    assert (again.returncode, json.loads(again.stdout)["new_failures"]) == (0, [])
    assert ran("status", "--root", tmp_path / "none").returncode == 2
    assert ran("status", "--no-such-option").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["verify"], ["compact"], ["plan", "--set", "extract.extractors={logmel: }"], ["settings"], ["weights"],
     ["report"], ["train", "--list"], ["floors"], ["recommend"], ["retry", "--class", "corrupt"], ["nothing"],
     ["status", "--no-such-option"], ["export", "x", "--to", "y"]],
)  # fmt: skip
def test_json_is_one_object_on_stdout_and_nothing_else(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the command fails."""
    root = tmp_path / "reelmill"
    Tables(root).write("videos", [{"video_id": "v", "url": None}])
    Outcomes(root).write([Outcome("download", "v", "failed", error_class="network", permanent=False, message="m")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reelmill", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert isinstance(found, dict)
    assert ("error" in found) == (ended.value.code != 0)
    assert ended.value.code in EXIT_STATUSES
    assert "Traceback" not in said.err


def test_a_file_gets_neither_colours_nor_padding_and_a_line_a_row(tmp_path: Path) -> None:
    Tables(tmp_path).write("videos", [{"video_id": "v", "url": None}])
    message = "a message that is far too long for one line of a terminal of eighty columns, and says so " * 3
    Outcomes(tmp_path).write(
        [Outcome("download", "v", "failed", error_class="network", permanent=False, message=message)]
    )
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    ended = subprocess.run([REELMILL, "status", "--root", tmp_path], capture_output=True, text=True, timeout=60,
                           check=True, env=kept)  # fmt: skip
    lines = ended.stdout.splitlines()
    assert "\x1b" not in ended.stdout
    assert not [line for line in lines if line != line.rstrip()]
    assert any(message.strip() in line for line in lines)
