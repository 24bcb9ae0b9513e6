"""Published weights: their records, files and hashes."""
