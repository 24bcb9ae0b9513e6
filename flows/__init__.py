"""Settings, jobs, the command line, and Prefect where a server is asked for.

settings   one typed YAML file, overridden by environment and command line
jobs       what the verbs do, as plain functions: ingest, extract, train, run …
serve      the same jobs as Prefect flow runs, deployments and their artifacts, and blocks on Ray
cli        the `reelmill` command, a verb a file
progress   bars and tables in the terminal
"""
