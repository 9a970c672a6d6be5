"""JAX: slots share the layout of their variable, so that sharded weights have sharded state."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

try:
    from jax.extend.core import get_opaque_trace_state
except ImportError:  # older versions of JAX
    from jax.core import get_opaque_trace_state

from kopt._backend import watch
from kopt._backend.ascent.trainer import TwoGradientModel
from kopt._backend.driven import DrivenOptimizer, filled_with

_CARRIED = "kopt_notes"

DEVICE_ERRORS: tuple[type[Exception], ...] = (RuntimeError, MemoryError)


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


def values_at(model: Any, arguments: Sequence[Any]) -> tuple[list[Any], list[Any]]:  # noqa: ARG001
    """Returns the values of the trainable and of the other variables, where a train step with `arguments` begins."""
    return list(arguments[0][0]), list(arguments[0][1])


def timed(arguments: Sequence[Any]) -> tuple[Sequence[Any], Callable[[Any], float | None]]:
    """Returns the arguments of a train function, and what then says how long it waited for data inside the call.

    That function gets what `arrival` kept; it returns seconds, or None if nobody knows.
    """
    state, iterator = arguments
    waiting = _Waiting(iterator)
    return (state, waiting), lambda _: waiting.seconds


class _Waiting:
    """An iterator that knows how long it was waited for."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        self.seconds = 0.0

    def __iter__(self) -> "_Waiting":
        return self

    def __next__(self) -> Any:
        started = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - started


def arrival(model: Any, leaves: Sequence[Any]) -> dict[str, Any]:  # noqa: ARG001
    """Returns what to keep of a step, under `arrived`, that tells when its data had arrived."""
    return {}


def device_memory() -> dict[str, int]:
    """Returns bytes in use on the device, and their peak, as far as known."""
    found = jax.local_devices()[0].memory_stats() or {}
    names = {"device": "bytes_in_use", "device_peak": "peak_bytes_in_use"}
    return {name: found[key] for name, key in names.items() if key in found}


def rounds_anew(model: Any) -> bool:  # noqa: ARG001
    """Returns whether a look at a layer's outputs may change how the compiled step rounds."""
    return False


def apart(tensor: Any, number: Any) -> Any:
    """Returns a tensor of a step so that XLA still computes the original inside of what uses it, and rounds as before.

    As an output of its own it would be stored, and no longer multiply and add in one operation with what follows.

    Args:
        tensor: To be kept.
        number: Of the step; the compiler does not know that it is above 0.
    """
    return keras.ops.where(number > 0, tensor, keras.ops.zeros_like(tensor))


def dense(gradient: Any) -> Any:
    """Returns a gradient as one tensor, also that of an embedding."""
    return gradient


def square_sums(tensors: Sequence[Any]) -> Any:
    """Returns the sum of squares of each tensor's elements, as a float32 vector, in as few operations as can be."""
    return keras.ops.stack([keras.ops.sum(keras.ops.square(keras.ops.cast(t, "float32"))) for t in tensors])


def replicas_of(model: Any) -> int:  # noqa: ARG001
    """Returns how many replicas take a step together, each with its own part of the batch and its own thread."""
    return 1


def carrying(model: Any, notes: Callable[[], Any]) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Returns what to put in front of the model's methods, so that what is noted inside JAX' gradient leaves it.

    The notes travel beside the predictions, which Keras' train step takes out of the gradient and hands to
    `compute_metrics`. A train step of the user's own may do something else with them, and stays as it is.
    """
    kind = type(model)
    is_known = kind.train_step is keras.Model.train_step or isinstance(model, TwoGradientModel)
    if not is_known or kind.compute_loss_and_updates is not keras.Model.compute_loss_and_updates:
        return []
    differentiated, measured = model.compute_loss_and_updates, model.compute_metrics

    def compute_loss_and_updates(*args: Any, **kwargs: Any) -> Any:
        notes().enter()
        loss, (unscaled, y_pred, non_trainable, metrics) = differentiated(*args, **kwargs)
        tags, values = notes().leave()
        travelling.append(tags)
        return loss, (unscaled, {_CARRIED: values, "y_pred": y_pred}, non_trainable, metrics)

    def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if isinstance(y_pred, dict) and _CARRIED in y_pred:
            for tag, value in zip(travelling[-1], y_pred[_CARRIED], strict=True):
                notes().note(tag, value)
            y_pred = y_pred["y_pred"]
        return measured(x, y, y_pred, sample_weight)

    travelling: list[list[Any]] = []
    return [
        (model, "compute_loss_and_updates", compute_loss_and_updates),
        (model, "compute_metrics", compute_metrics),
    ]


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


def random_state() -> Callable[[], None]:
    """Returns a function that puts the backend's own random generators back: JAX has none."""
    return lambda: None
