"""Prefect: deployments, workers, artifacts."""
