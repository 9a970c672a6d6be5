"""Searches whose trials are in an Optuna storage, so that any number of equal workers run them together."""
