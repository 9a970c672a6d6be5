"""JAX: slots share the layout of their variable, so that sharded weights have sharded state."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer, filled_with


class Adapter(DrivenOptimizer):
    """The JAX seam: Keras runs `apply` inside a stateless scope, so writes are pure already."""

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        layout = getattr(variable, "_layout", None) if tuple(variable.shape) == tuple(shape) else None
        return self.add_variable(shape, filled_with(start), dtype, layout=layout, name=name)

    def write(self, writes: Sequence[tuple[Any, Any]]) -> None:
        # One array in two variables would be donated twice by the next compiled step, which fails.
        seen: set[int] = set()
        for variable, value in writes:
            variable.assign(keras.ops.copy(value) if id(value) in seen else value)
            seen.add(id(value))

    def finalize_variable_values(self, var_list: Any) -> None:
        super().finalize_variable_values(var_list)
        if self.use_ema:  # Keras has just put the averages' own arrays into the weights.
            for variable in var_list:
                variable.assign(keras.ops.copy(variable.value))


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
