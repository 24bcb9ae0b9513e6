"""Adapters: each reads one published format into events and rejects."""
