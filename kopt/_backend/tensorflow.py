"""TensorFlow: sparse gradients, reduction over replicas, and writes that `tf.distribute` accepts."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer, filled_with

DEVICE_ERRORS: tuple[type[Exception], ...] = (tf.errors.OpError, RuntimeError, MemoryError)


def _native(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _kept_apart(gradient: Any) -> Any:
    """Returns a gradient that is a sum in a form that TensorFlow does not merge with a sum behind it.

    Its graph optimizer makes one `AddN` of (a + b) + c, in another order, when nobody else looks at a + b. When the
    monitor does, the weights would end differently, in the last digit.
    """
    operation = getattr(gradient, "op", None)
    is_sum = operation is not None and operation.type in ("Add", "AddV2", "AddN")
    return tf.ensure_shape(gradient, gradient.shape) if is_sum else gradient


def _assign_all(strategy: Any, variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        strategy.extended.update(variable, lambda target, new: target.assign(new), args=(value,), group=False)


class Adapter(DrivenOptimizer):
    """The TensorFlow seam: the step runs in replica context, one merge call writes."""

    def densify(self, gradient: Any) -> Any:
        return _kept_apart(tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient)

    def is_traced(self) -> bool:
        return not tf.executing_eagerly()

    def reduce_over_replicas(self, gradients: Sequence[Any]) -> Sequence[Any]:
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return gradients
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        with self._distribution_strategy.extended.colocate_vars_with(_native(variable)):
            return self.add_variable(shape, filled_with(start), dtype, name=name)

    def write(self, writes: Sequence[tuple[Any, Any]]) -> None:
        if not writes:
            return
        variables = [_native(variable) for variable, _ in writes]
        values = [tf.cast(value, target.dtype) for target, (_, value) in zip(variables, writes, strict=True)]
        tf.__internal__.distribute.interim.maybe_merge_call(_assign_all, self._distribution_strategy, variables, values)


def watched(optimizer: Any, observe: Callable[[watch.Step], None]) -> tuple[str, Callable[..., Any]]:
    """Returns the name of the method that takes a step, and one for its place that shows each step to `observe`."""

    def prepare(gradients: Sequence[Any]) -> list[Any]:
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return dense
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, dense)

    def copy(variable: Any) -> Any:
        # `identity` of a read: in eager mode a later in-place write would otherwise show through.
        return tf.identity(tf.convert_to_tensor(_native(variable)))

    return "apply", watch.watched_apply(optimizer, observe, prepare, copy)


def outputs_of(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Splits what a train function returned into its logs and a way to put other logs in their place."""
    return result, lambda logs: logs


def values_at(model: Any, arguments: Sequence[Any]) -> tuple[list[Any], list[Any]]:  # noqa: ARG001
    """Returns the values of the trainable and of the other variables, where a train step with `arguments` begins."""
    every = (model.trainable_variables, model.non_trainable_variables)
    trainable, other = ([tf.identity(tf.convert_to_tensor(_native(v))) for v in variables] for variables in every)
    return trainable, other


def timed(arguments: Sequence[Any]) -> tuple[Sequence[Any], Callable[[Any], float | None]]:
    """Returns the arguments of a train function, and what then says how long it waited for data inside the call.

    That function gets what `arrival` kept; it returns seconds, or None if nobody knows.
    """
    started = time.time()
    return arguments, lambda arrived: None if arrived is None else max(float(arrived) - started, 0.0)


def arrival(model: Any, leaves: Sequence[Any]) -> dict[str, Any]:
    """Returns what to keep of a step, under `arrived`, that tells when its data had arrived."""
    if model.jit_compile is True or replicas_of(model) > 1:
        return {}  # XLA has no clock.
    with tf.control_dependencies([leaf for leaf in leaves if tf.is_tensor(leaf)]):
        return {"arrived": tf.timestamp()}


def device_memory() -> dict[str, int]:
    """Returns bytes in use on the device, and their peak, as far as known."""
    devices = tf.config.list_logical_devices("GPU")
    if not devices:
        return {}
    found = tf.config.experimental.get_memory_info(devices[0].name)
    return {"device": found["current"], "device_peak": found["peak"]}


def rounds_anew(model: Any) -> bool:  # noqa: ARG001
    """Returns whether a look at a layer's outputs may change how the compiled step rounds."""
    return False


def apart(tensor: Any, number: Any) -> Any:  # noqa: ARG001
    """Returns a tensor of a step in a form that may be kept without a change of how the step rounds."""
    return tensor


def dense(gradient: Any) -> Any:
    """Returns a gradient as one tensor, also that of an embedding."""
    return tf.convert_to_tensor(gradient)


def square_sums(tensors: Sequence[Any]) -> Any:
    """Returns the sum of squares of each tensor's elements, as a float32 vector, in as few operations as can be."""
    return 2.0 * tf.stack([tf.nn.l2_loss(tf.cast(tensor, tf.float32)) for tensor in tensors])


def replicas_of(model: Any) -> int:
    """Returns how many replicas take a step together, each with its own part of the batch and its own thread."""
    return model.distribute_strategy.num_replicas_in_sync


def carrying(model: Any, notes: Callable[[], Any]) -> list[tuple[Any, str, Callable[..., Any]]]:  # noqa: ARG001
    """Returns what to put in front of the model's methods, so that what is noted inside a gradient leaves it."""
    return []


def has_stale_trace(model: Any) -> bool:
    """Returns whether a train function made earlier may go on with variables whose `trainable` has changed since."""
    optimizer = watch.innermost(model.optimizer)
    trained = {id(variable) for variable in model.trainable_variables}
    return optimizer.built and trained != {id(variable) for variable in optimizer._trainable_variables}


def trace() -> Any:
    """Returns what stands for the tracing under way; a tensor made in an inner one must not be used in an outer one."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def occurrences(indices: Any, size: int) -> Any:
    """Counts how often each of 0 ... size - 1 occurs in int32 `indices`, as int32: sums of float32 ones end at 2^24."""
    return keras.ops.segment_sum(keras.ops.ones_like(indices), indices, num_segments=size)


def without_gradients() -> Any:
    """Returns a context in which nothing is kept for gradients."""
    return contextlib.nullcontext()


def outside_traces() -> Any:
    """Returns a context in which numbers are computed at once, also while a step is being compiled."""
    return tf.init_scope()


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """Returns what one of two pure functions returns; the other does not run, unless `vectorized_map` needs both."""
    return keras.ops.cond(condition, then, otherwise)


def devices() -> list[str]:
    """Returns what the backend can compute on, for people to read."""
    found = []
    for device in tf.config.list_physical_devices():
        kind = {} if device.device_type == "CPU" else tf.config.experimental.get_device_details(device)
        name = f" ({kind['device_name']})" if "device_name" in kind else ""
        found.append(device.name.removeprefix("/physical_device:").lower() + name)
    return found


def random_state() -> Callable[[], None]:
    """Returns a function that puts the backend's own random generators back: Keras' steps use none of TensorFlow's."""
    return lambda: None
