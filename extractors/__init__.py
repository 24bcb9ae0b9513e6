"""Frames in, vectors out. Importing this package does not import torch: `frames` is read by decoding processes.

frames     how an extractor wants its frames cut, scaled and grouped into windows (no torch)
base       the `Extractor` protocol
weights    checkpoints: where they come from, their hash, their licence, their key names
c3d, i3d_r50, vgg19    one network a file, with its preprocessing
registry   `build("c3d", …)`
"""
