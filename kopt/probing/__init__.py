"""Experiments on a model that leave no trace in it: which learning rate, which batch size."""

from kopt.probing.batch_size import find_batch_size
from kopt.probing.batch_sizes import BatchSizes
from kopt.probing.learning_rate import find_learning_rate
from kopt.probing.range_test import RangeTest

__all__ = ["BatchSizes", "RangeTest", "find_batch_size", "find_learning_rate"]
