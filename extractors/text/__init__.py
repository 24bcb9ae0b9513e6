"""Encoders of text: they learn from the texts of a root and encode what comes later."""
