"""Inputs that are drawn from fixed seeds: spoilt rows of sources, media files and settings; films with odd timelines.

    rows        every row ends as an event or as a reject with its rule; a file is refused as a whole or read as a whole
    media       every file ends with frames, or with a class and a reason, by way of the real child processes
    settings    every file is a valid settings object, or an InputError
    timelines   of every film duration, segments, pictures and sound are what a player shows

`make test` runs a part of each, `make test-slow` all of it; the figures are in `tests/README.md`.
"""
