"""Metrics, their intervals, and rankings without training to compare with."""
