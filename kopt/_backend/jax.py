"""JAX: slots share the layout of their variable, so that sharded weights have sharded state."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer


class Adapter(DrivenOptimizer):
    """The JAX seam: Keras runs `apply` inside a stateless scope, so writes are pure already."""

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        layout = getattr(variable, "_layout", None) if tuple(variable.shape) == tuple(shape) else None
        return self.add_variable(shape, keras.initializers.Constant(start), dtype, layout=layout, name=name)


def watching(optimizer: Any, observe: Callable[[watch.Step], None]) -> contextlib.AbstractContextManager[None]:
    """Shows each step of `optimizer` to `observe` while the context is open."""
    return watch.overriding(optimizer, "stateless_apply", watch.watched_stateless_apply(optimizer, observe))


def outputs_of(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Splits what a train function returned into its logs and a way to put other logs in their place."""
    logs, state = result
    return logs, lambda new: (new, state)


def occurrences(indices: Any, size: int) -> Any:
    """Counts how often each of 0 ... size - 1 occurs among int32 `indices`, in int32: adding float32 ones ends at 2^24."""
    return keras.ops.segment_sum(keras.ops.ones_like(indices), indices, num_segments=size)
