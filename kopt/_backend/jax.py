"""JAX: slots share the layout of their variable, so that sharded weights have sharded state."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

try:
    from jax.extend.core import get_opaque_trace_state
except ImportError:  # older versions of JAX
    from jax.core import get_opaque_trace_state

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer, filled_with


class Adapter(DrivenOptimizer):
    """The JAX seam: Keras runs `apply` inside a stateless scope, so writes are pure already."""

    def is_traced(self) -> bool:
        return isinstance(keras.ops.convert_to_tensor(self._iterations), jax.core.Tracer)

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


def watched(optimizer: Any, observe: Callable[[watch.Step], None]) -> tuple[str, Callable[..., Any]]:
    """Returns the name of the method that takes a step, and one for its place that shows each step to `observe`."""
    return "stateless_apply", watch.watched_stateless_apply(optimizer, observe)


def outputs_of(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Splits what a train function returned into its logs and a way to put other logs in their place."""
    logs, state = result
    return logs, lambda new: (new, state)


def has_stale_trace(model: Any) -> bool:  # noqa: ARG001
    """Returns whether a train function made earlier may go on with variables whose `trainable` has changed since."""
    return False


def trace() -> Any:
    """Returns what stands for the tracing under way; a tensor made in an inner one must not be used in an outer one."""
    return get_opaque_trace_state(convention="kopt")


def occurrences(indices: Any, size: int) -> Any:
    """Counts how often each of 0 ... size - 1 occurs in int32 `indices`, as int32: sums of float32 ones end at 2^24."""
    return keras.ops.segment_sum(keras.ops.ones_like(indices), indices, num_segments=size)


def without_gradients() -> Any:
    """Returns a context in which nothing is kept for gradients."""
    return contextlib.nullcontext()


def outside_traces() -> Any:
    """Returns a context in which numbers are computed at once, also while a step is being compiled."""
    return jax.ensure_compile_time_eval()


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """Returns what one of two pure functions returns; the other does not run, unless `vmap` needs both."""
    if not isinstance(condition, jax.core.Tracer):  # `cond` would compile both anew at each call
        return then() if condition else otherwise()
    return keras.ops.cond(condition, then, otherwise)


def devices() -> list[str]:
    """Returns what the backend can compute on, for people to read."""
    return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]
