"""The only home of Prefect: jobs as flow runs, deployments and their artifacts, blocks on a Ray cluster.

    flow_runs     a job as a Prefect flow, its steps as tasks
    ray_cluster   the blocks of `extract` as tasks on Ray
    deployed      the flows that a server starts
    deployments   registers them on a server, with schedules and automations
    artifacts     what a server shows of a run

Nothing here is imported unless a server or Ray is asked for. Importing the package keeps Prefect on this machine: no
telemetry, patience with the small server that it starts where there is none.
"""

import os
from pathlib import Path

from reelmill.storage.errors import InputError

OFFLINE = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # The server that a flow starts for itself needs 15 s on an idle machine, and its default limit is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # What went wrong is printed once, by the command line, and kept in the outcomes table.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}
"""Set for this process and its child processes, unless they are set already."""
for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)

# A machine that knows Prefect already keeps its own settings; elsewhere its small database goes to the user's cache.
if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect").exists():
    _home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill" / "prefect"
    try:
        _home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder of the path only
    except OSError as error:
        raise InputError(
            f"Prefect has no folder: {_home} cannot be made ({error.strerror}); set PREFECT_HOME to another"
        ) from None
    os.environ["PREFECT_HOME"] = str(_home)
