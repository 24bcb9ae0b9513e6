"""What every recommender has in common: settings, model, task, trainer, runs, charts."""
