"""Recommenders: they read the tables and feature stores of a root, and never see a video.

Read in this order:

    data         who liked which segment: tables and a store as arrays, with counts of all that is left out
    videos       the same of whole videos: events and a store with one row a video
    splits       what trains, validates and tests
    metrics      one formula each, ties by expectation, bootstrap intervals
    baselines    rankings that need no training
    evaluate     from scores to tables with intervals and paired differences
    floors       tables of the baselines alone, which need labels and no store
    base         what a recommender is: settings, model, task
    graph, sampling    parts that several models use
    transgrec    TransGRec, equations and task
    drnn         the Dynamic RNN; beside it its settings, parts, data, cases (split, figures of lists), protocol (who is
                 tested on what) and task; fpmc: FPMC, its floor, under the same protocol
    jifr         JIFR, equations; beside it its parts, data (ratings, frames, likes), cases (split and tests) and task
    prnet        PR-Net, equations; beside it its parts, cells (pieces of videos), data (highlights, steps), cases (what
                 is ranked, histories, 5-second version) and task
    multimodal   the attention-based click-through model; fm: FM and DeepFM, its floors; fields: what all three read and
                 share; beside them parts, data, cases (split, negatives), task and metrics_ctr (AUC and log-loss)
    audiovisual  its audio-visual features, private and public, over stores; multimodal_features: their equations;
                 beside it data, task, and write (into stores that the click-through model can read)
    vbpr         BPR and VBPR, the floors of whatever ranks items; beside them data (positives, split) and task;
                 ranking: metrics of full rankings; rows: what reads and updates the rows of a batch
    registry     the recommenders by name
    runs         a run's folder and its checkpoint
    logs         what TensorBoard shows of a fit
    charts       how pictures are drawn; pictures: those of a fit, by recommender
    fit          the trainer
    recommend    recommendations of a fitted run with reasons; recommend_parts and one recommend_<model> each
    report       the page over a root; beside it overview (its tables) and ablations (fits that differ in one setting)

A fit from a program:

    from reelmill.models.core.fit import train
    from reelmill.models.transgrec.model import TransGRecSettings

    result = train("root", "c3d-fc6", TransGRecSettings(epochs=50))
"""
