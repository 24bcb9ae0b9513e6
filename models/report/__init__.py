"""The page about a root."""
