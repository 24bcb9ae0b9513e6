"""The Dynamic RNN (ACM Multimedia 2017)."""
