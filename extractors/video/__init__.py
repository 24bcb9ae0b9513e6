"""Extractors that read frames."""
