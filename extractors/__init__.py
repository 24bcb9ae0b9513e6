"""Frames or sound in, vectors out. Importing this package does not import torch: `frames` and `sound` are read by
decoding processes.

frames     how an extractor wants its frames cut, scaled and grouped into windows (no torch)
sound      how an extractor wants its sound: rate, and a window a segment or one of parts of the video (no torch)
base       the `Extractor` protocol
settings   what a user can choose of an extractor
network    what the convolutional ones share: weights, one forward pass, the spec; of frames, their pixels
mel        what those of sound share: librosa's mel spectrogram in decibels, the spec (no torch)
device     where a network runs, and with how many digits
checkpoints    the published weights: addresses, hashes, licences, pixels, key names (no torch)
files      their files: kept where, the right ones or not, fetched, taken in (no torch)
hashes, fetch    is it that file; one download (no torch)
weights    from a file, or a seed, to the tensors of a network
c3d, i3d, i3d_r50, vgg19    one network of frames a file, with its preprocessing
logmel, spectrogram, i3d_sound    one extractor of sound a file
registry   `build("c3d", …)`

Texts have encoders, which learn from the corpus:

words      from text to words, and from words to vectors (no torch)
fitted     what an encoder is, and how a root keeps what it learned (no torch)
sentence, topics, twitter_lda    one encoder a file; only the first needs torch
encoders   `build("topics", …)`
"""
