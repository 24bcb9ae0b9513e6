"""Data, split, batches and tests that several recommenders share."""
