"""What the three train steps share: who decides about the second gradient, and what it must leave as it was."""

from collections.abc import Sequence
from typing import Any

import keras

Tensors = list[Any]


class TwoGradientModel(keras.Model):
    """A model whose step may take a second gradient at shifted weights and hand another one to the optimizer.

    Keras' own train step stays in charge of the forward pass, the metrics and the loss scale: only what reaches the
    optimizer is replaced. The second pass sees the same random numbers as the first, and leaves no trace in batch
    statistics, metrics or random state.
    """

    def offsets(self, gradients: Tensors, values: Tensors) -> Tensors:
        """Returns how far to shift each weight."""
        raise NotImplementedError

    def combined(self, first: Tensors, second: Tensors) -> tuple[Tensors, Tensors]:
        """Returns the gradients to train with, and the new memory."""
        raise NotImplementedError

    def reused(self, first: Tensors, memory: Tensors) -> Tensors:
        """Returns the gradients to train with on a step without a second pass."""
        raise NotImplementedError

    def is_due(self, count: Any) -> Any:
        """Returns whether the step that is the `count`-th, from 0, takes a second gradient."""
        raise NotImplementedError

    @property
    def memory(self) -> list[Any]:
        """The variables that keep what later steps reuse."""
        raise NotImplementedError

    @property
    def count(self) -> Any:
        """The variable that counts the steps; None if every step is due."""
        raise NotImplementedError


def pairs(gradients: Sequence[Any], variables: Sequence[Any]) -> tuple[list[int], Tensors, list[Any]]:
    """Returns the positions that have a gradient, the gradients, and their variables."""
    kept = [i for i, gradient in enumerate(gradients) if gradient is not None]
    return kept, [gradients[i] for i in kept], [variables[i] for i in kept]


def filled(gradients: Sequence[Any], kept: Sequence[int], length: int) -> Tensors:
    """Returns a list with the gradients at their positions and None elsewhere."""
    full: Tensors = [None] * length
    for i, gradient in zip(kept, gradients, strict=True):
        full[i] = gradient
    return full
