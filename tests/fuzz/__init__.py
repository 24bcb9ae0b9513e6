"""Inputs that were spoilt on purpose, from fixed seeds: rows of sources, media files, settings.

    rows        every row ends as an event or as a reject with its rule; a file is refused as a whole or read as a whole
    media       every file ends with frames, or with a class and a reason, by way of the real child processes
    settings    every file is a valid settings object, or an InputError

`make test` runs a part of each, `make test-slow` all of it; the figures are in `tests/README.md`.
"""
