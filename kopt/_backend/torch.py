"""PyTorch: the step runs without autograd, whoever calls it."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import torch

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer


class Adapter(DrivenOptimizer):
    """The PyTorch seam: Keras' variables write in place already."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        with torch.no_grad():
            super().apply(grads, trainable_variables)

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        return self.add_variable(shape, keras.initializers.Constant(start), dtype, name=name)


def watching(optimizer: Any, observe: Callable[[watch.Step], None]) -> contextlib.AbstractContextManager[None]:
    """Shows each step of `optimizer` to `observe` while the context is open."""

    def copy(variable: Any) -> Any:
        return variable.value.detach().clone()

    return watch.overriding(optimizer, "apply", watch.watched_apply(optimizer, observe, list, copy))


def outputs_of(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Splits what a train function returned into its logs and a way to put other logs in their place."""
    return result, lambda logs: logs


def occurrences(indices: Any, size: int) -> Any:
    """Counts how often each of 0 ... size - 1 occurs among int32 `indices`, in int32: adding float32 ones ends at 2^24.

    Keras' `segment_sum` adds in float32 here whatever the dtype, takes eight times as long, and fails in Inductor.
    """
    zeros = torch.zeros(size, dtype=torch.int32, device=indices.device)
    return zeros.scatter_add(0, indices.long(), torch.ones_like(indices))
