"""The command line: a verb a file, with its options and what it prints.

app        the verbs in groups, and `reelmill` itself
options    arguments and options that verbs share, and the rule for SETTINGS and --root
job        settings and root of a command, running a job and saying what came of it
execute    a job in this process, or as a flow run where a server or Ray is asked for
output     JSON for programs, tables for people
help       what `--help` shows of settings, root and exit statuses
main       errors and signals
entry      the script `reelmill`, which also a base install has; this file therefore imports nothing
"""
