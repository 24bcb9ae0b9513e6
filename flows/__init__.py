"""The only home of Prefect, of settings and of the command line. A flow is names in order; it decides nothing.

    settings   one typed YAML file, overridden by environment and command line
    steps      what one task does: a thin call into pipeline or models; texts, fits: those of two flows
    places     data sets and planted worlds to fit on
    ingest, extract, train, run    the flows
    spread     hands the blocks of extract out, also to Ray; retries: which failures are worth another try
    backfill, retry    extract for chosen videos, and what failed once more; plan: what is missing and what it will cost
    status, keep, doctor    what is there; verify, compact, export; can this machine do the work
    deployed   the flows as a server starts them; serve registers them; artifacts: what a server shows of a run
    progress   bars and tables in the terminal
    recommend  ask a fitted recommender; tell, tell_keep, tell_recommend, tell_serve: figures as tables
    arguments  what several verbs share
    cli        the `reelmill` command: verbs_jobs, verbs_keep, verbs_results, verbs_root, verbs_serve, over `command`
    demo       the planted corpus, from rendering to report

Importing this package sets Prefect up to stay on this machine: no telemetry, patience with its own small server.
"""

import os
from pathlib import Path

OFFLINE = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # The server that a flow starts for itself needs 15 s on an idle machine, and its default limit is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # What went wrong is told once, by the command line, and kept in the outcomes table.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}
"""Set for this process and those that it starts, unless they are set already."""
for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)

# A machine that knows Prefect already keeps its own settings; elsewhere its small database goes to the user's cache.
if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect").exists():
    _home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill" / "prefect"
    _home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder of the path only
    os.environ["PREFECT_HOME"] = str(_home)
