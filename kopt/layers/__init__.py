"""Layers that Keras lacks: dropout of paths and blocks, rates that follow a schedule."""

from kopt.layers.drop_block import DropBlock
from kopt.layers.drop_path import DropPath, drop_path_rates
from kopt.layers.dropout import ScheduledDropout
from kopt.layers.mix_up_cut_mix import MixUpCutMix
from kopt.layers.perturbed import DropConnect, WeightNoise
from kopt.layers.shake_drop import ShakeDrop
from kopt.layers.temperature import Temperature

__all__ = [
    "DropBlock",
    "DropConnect",
    "DropPath",
    "MixUpCutMix",
    "ScheduledDropout",
    "ShakeDrop",
    "Temperature",
    "WeightNoise",
    "drop_path_rates",
]
