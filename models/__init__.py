"""Recommenders: they read the tables and feature stores of a root, and never see a video.

Read in this order:

    data         who liked which segment: tables and a store as arrays, with counts of all that is left out
    splits       what trains, validates and tests
    metrics      one formula each, ties by expectation, bootstrap intervals
    baselines    rankings that need no training
    evaluate     from scores to tables with intervals and paired differences
    base         what a recommender is: settings, model, task
    graph, sampling    parts that several models use
    transgrec    TransGRec, equations and task
    drnn         the Dynamic RNN; beside it its settings, parts, data, cases (split, figures of lists) and task
    jifr         JIFR, equations; beside it its parts, data (ratings, frames, likes), cases (split and tests) and task
    prnet        PR-Net, equations; beside it its parts, cells (pieces of videos), data (highlights, steps), cases (what
                 is ranked, histories, 5-second version) and task
    multimodal   the attention-based click-through model; fm: FM and DeepFM, its floors; fields: what all three read and
                 share; beside them parts, data, cases (split, negatives), task and metrics_ctr (AUC and log-loss)
    registry     the recommenders by name
    runs         a run's folder and its checkpoint
    fit          the trainer

A fit from a program:

    from models.fit import train
    from models.transgrec import TransGRecSettings

    result = train("root", "c3d-fc6", TransGRecSettings(epochs=50))
"""
