"""Highlights: which moments of a video a user marks (PR-Net's protocol)."""
