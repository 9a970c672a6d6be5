"""Losses that Keras lacks, and losses whose numbers follow a schedule."""

from kopt.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from kopt.losses.flooding import Flooding
from kopt.losses.gradient_penalty import GradientPenalty
from kopt.losses.r_drop import RDrop
from kopt.losses.scheduled import ScheduledLoss

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Flooding",
    "GradientPenalty",
    "RDrop",
    "ScheduledLoss",
    "SparseCategoricalCrossentropy",
]
