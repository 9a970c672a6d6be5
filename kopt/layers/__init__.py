"""Layers that Keras lacks: dropout of paths and blocks, rates that follow a schedule."""

from kopt.layers.drop_path import DropPath, drop_path_rates
from kopt.layers.dropout import ScheduledDropout
from kopt.layers.temperature import Temperature

__all__ = ["DropPath", "ScheduledDropout", "Temperature", "drop_path_rates"]
