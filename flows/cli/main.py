"""The `reelmill` command: thin verbs over flows and functions that a program can call as well.

Results go to stdout, everything else to stderr. With `--json` a verb prints one JSON object there and nothing else.
Exit statuses are those of `help.EXIT_STATUSES`. With REELMILL_DEBUG set, errors of the system keep their traceback,
and what libraries log is shown.
"""

import json
import logging
import os
import sys
import warnings

import typer

from reelmill.flows import interrupt
from reelmill.flows.cli.app import app
from reelmill.flows.progress import console, safe
from reelmill.storage.errors import InputError, ReelmillError

STOPPED = "stopped; everything finished so far is kept, run the same command to go on"
STOPPED_EARLY = "stopped; what was not committed yet is done again: run the same command to go on"
"""Where the commit failed, or took too long."""
INTERRUPTED = 130
"""Of every interrupted command, for Typer turns each KeyboardInterrupt into it."""


def main() -> None:
    """Run the command; errors of the input and of the system are one message, not a traceback."""
    _quiet_libraries()
    with interrupt.handled(_stopped_by_force):
        status, number = _command(), interrupt.received()
        if status == INTERRUPTED or (status == 0 and number is not None):
            console.print(f"[yellow]{STOPPED}[/]", soft_wrap=True)
            _as_json("Interrupted", STOPPED)
        elif number is not None:  # such as a full disk, found by the commit
            console.print(f"[yellow]{STOPPED_EARLY}[/]", soft_wrap=True)
    sys.exit(status if number is None else 128 + number)


def _command() -> int:
    """The exit status of the command that was typed."""
    try:
        return app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ReelmillError as error:
        return _failed(error, str(error), 2 if isinstance(error, InputError) else 1)
    except OSError as error:
        if os.environ.get("REELMILL_DEBUG"):
            raise
        where = f": {error.filename}" if error.filename is not None else ""
        return _failed(error, f"{error.strerror or error}{where}", 1)
    except Exception as error:
        if (lost := _lost_server(error)) is not None:
            if interrupt.received() is not None:  # the small server of this process was stopped by the same signal
                return INTERRUPTED
            return _failed(error, lost, 1)
        if not (type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message")):
            _as_json(type(error).__name__, str(error))
            raise
        error.show()  # type: ignore[attr-defined]
        _as_json(type(error).__name__, error.format_message())
        return 2


def _quiet_libraries() -> None:
    """Show what Reelmill itself logs, and nothing of libraries: nobody who types a command can do anything about it."""
    if os.environ.get("REELMILL_DEBUG"):
        return
    if logging.lastResort is not None:
        logging.getLogger("reelmill").addHandler(logging.lastResort)
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _stopped_by_force(status: int) -> None:
    """Say so from another thread, while the main one does not come to an end."""
    if "--json" in sys.argv[1:]:
        os.write(1, (json.dumps({"error": {"class": "Interrupted", "message": STOPPED_EARLY}}) + "\n").encode())
    os.write(2, f"{STOPPED_EARLY}\n".encode())


def _lost_server(error: Exception) -> str | None:
    """What to say when the Prefect server does not answer, or no longer; None of any other error."""
    if not (type(error).__module__.startswith("httpx") or "Failed to reach API" in str(error)):
        return None
    server = os.environ.get("PREFECT_API_URL", "of this machine")
    return (
        f"the Prefect server {server} does not answer ({str(error) or type(error).__name__}); everything finished so "
        "far is kept: start it again, or unset PREFECT_API_URL to do without, and run the same command"
    )


def _failed(error: Exception, message: str, status: int) -> int:
    console.print(f"[bold red]error:[/] {safe(message)}", highlight=False, soft_wrap=True)
    _as_json(type(error).__name__, message)
    return status


def _as_json(name: str, message: str) -> None:
    """The object that a program waits for on stdout."""
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"error": {"class": name, "message": message}}) + "\n")
