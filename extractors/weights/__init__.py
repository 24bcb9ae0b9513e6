"""Published weights: records, files, hashes, download and loading."""
