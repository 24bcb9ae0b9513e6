"""Frames, sound or text in, vectors out. Importing this package imports no torch.

registry            every extractor by name: `build("c3d", …)`, `build_encoder("topics", …)`
core/descriptor     what is known of an extractor without loading it: input, layers, settings, published weights
core/settings       settings of all extractors; core/network_settings those of networks
core/base           the `Extractor` protocol: windows of frames or sound → vectors
core/frames, sound  how an extractor wants its frames or sound cut into windows; decoding processes read these
core/network        base class of networks; core/plain of extractors without one
core/inception      the I3D network, for frames and for spectrograms
core/device         device and precision; core/transfer copies batches to and from a GPU
video/, audio/      one extractor a file: its settings and weights, and `…_network` the class that needs torch
text/               extractors of text, which are fitted on the texts of a root: `fitted` is their base class
weights/            published weights: records, download, checking, loading
"""
