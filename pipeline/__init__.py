"""The stages, in the order in which data passes through them, from a published table to feature stores.

    sources/     read a published format: every row becomes an event or a reject download/    fetch videos with yt-dlp,
    in a process of their own; `ingest` fetches and measures those that are missing probe        measure a file:
    duration, rotation, rate, frames, sound segments     the grid of 5-second segments of each video labels       which
    user likes which segment: strictly more than half of it covered decode/      frames in presentation order, chosen by
    timestamp, scaled once per size; samples of sound on the same clock extract/     windows of many videos into
    batches, vectors into feature stores; texts as well vectors      vectors of whole videos that somebody else
    computed, into a feature store dataset      a published dataset as a whole: its events, and the vectors beside them

Used by these: `errors` (why a video failed), `media` (a file of a root, copied to this machine while it is read),
`process/` (a child process that can be killed, and its pipes), `secrets` (no password in a message), `planning/` (which
videos first, and how long it will take), `verify` (media files against their measurements), `highlight` (a few seconds
of a video as GIF or MP4) and `demo/` (the videos and users of `reelmill demo`).

Nothing here imports torch, Prefect or the command line; `extract` is given its extractors.
"""
