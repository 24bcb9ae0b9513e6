"""Extractors of frames."""
