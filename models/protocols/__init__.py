"""Protocols: data, split, test cases, floors and tables of one kind of test, shared by all recommenders compared on it.

    segments            rank the segments of a user's last video (TransGRec)
    items_and_frames    rank items among unrated ones, and the frames of one item (JIFR)
    highlights          rank the steps of a video by a user's past highlights (PR-Net)
    clicks              predict clicks from fields of user and item (multimodal, FM, DeepFM)
    next_videos         rank the videos that an unseen user watches next (Dynamic RNN, FPMC, KNN, LFM, MKNN, CB, SCA)

A recommender subclasses a protocol's task and adds its model, batches and scores. Whatever it adds, split, cases,
floors and bootstrap draws are those of the protocol, bit for bit, so that rows of different recommenders compare.
"""
