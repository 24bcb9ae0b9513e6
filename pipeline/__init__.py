"""The stages, in the order in which data passes through them. Each is one file, and needs no other to be understood.

    sources    read a published format: events and rejects, nothing lost
    download   fetch one video with yt-dlp, in a process of its own
    probe      measure a file: duration, rotation, rate, frames, sound
    segments   the grid of 5-second cells of each video
    labels     which user likes which cell: strictly more than half of it covered
    decode     frames in presentation order, chosen by timestamp, scaled once per size
    sound      samples in the same order, on the clock of the frames
    extract    windows of many videos into batches, vectors into feature stores
    texts      title, tags, categories and description of a video, or posts of a user, into feature stores
    vectors    vectors of whole videos that somebody else computed, into a feature store
    dataset    a published data set as a whole: its events, and the vectors beside them

Beside them: `errors` (why a video failed); `ingest` (download and probe over the videos of a root); `fetch`, `classify`
and `hosts` (around a download: where it goes, what its errors mean, whom it may talk to); `cut`, `gather` (around
extract: windows of one video, vectors of one video); `child` and `wire` (a process that can be killed, and its pipes);
`planted`, `corpus`, `stories`, `tastes`, `render`, `loopback` (the planted corpus of the demo, and its server);
`highlight` (a few seconds of a video as GIF or MP4, to look at); `select` and `where` (which videos first, and a filter
as text); `cost`, `rates` and `calibrate` (what the rest will take); `verify` (media against what was measured).

Torch, Prefect and the command line are not known here; `extract` gets its extractors handed in.
"""
