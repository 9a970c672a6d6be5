"""Losses that Keras lacks, and losses whose numbers follow a schedule."""

__all__: list[str] = []
