"""Frames in, vectors out. Importing this package does not import torch: `frames` is read by decoding processes.

frames     how an extractor wants its frames cut, scaled and grouped into windows (no torch)
base       the `Extractor` protocol
network    what the convolutional ones share: settings, pixels, one forward pass, the spec
device     where a network runs, and with how many digits
checkpoints    the published weights: addresses, hashes, licences, pixels, key names (no torch)
files      their files: kept where, the right ones or not, fetched, taken in (no torch)
hashes, fetch    is it that file; one download (no torch)
weights    from a file, or a seed, to the tensors of a network
c3d, i3d, i3d_r50, vgg19    one network a file, with its preprocessing
registry   `build("c3d", …)`
"""
