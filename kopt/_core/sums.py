"""Sums over all variables of a step."""

from collections.abc import Sequence
from typing import Any

from keras import ops


def total(tensors: Sequence[Any]) -> Any:
    """Returns the sum of all elements of all tensors as a float32 scalar."""
    return ops.sum(ops.stack([ops.cast(ops.sum(tensor), "float32") for tensor in tensors]))


def total_of_squares(tensors: Sequence[Any]) -> Any:
    """Returns the squared Euclidean norm of all tensors together as a float32 scalar."""
    return total([ops.square(tensor) for tensor in tensors])
