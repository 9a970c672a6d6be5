"""Experiments on a model that leave no trace in it: which learning rate, which batch size."""

from kopt.probing.learning_rate import find_learning_rate
from kopt.probing.range_test import RangeTest

__all__ = ["RangeTest", "find_learning_rate"]
