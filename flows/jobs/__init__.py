"""What verbs and flows do, as plain functions."""
