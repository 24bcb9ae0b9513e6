"""The typed settings file."""
