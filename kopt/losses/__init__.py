"""Losses that Keras lacks, and losses whose numbers follow a schedule."""

# A searched model has its metric: whoever loads one has to find it registered, without what a search needs.
from kopt.losses import plain_loss  # noqa: F401
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
