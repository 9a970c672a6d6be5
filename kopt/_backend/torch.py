"""PyTorch: the step runs without autograd, whoever calls it."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from torch._C._functorch import is_batchedtensor

from kopt._backend import watch
from kopt._backend.driven import DrivenOptimizer, filled_with

DEVICE_ERRORS: tuple[type[Exception], ...] = (RuntimeError, MemoryError)


class Adapter(DrivenOptimizer):
    """The PyTorch seam: Keras' variables write in place already."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        with torch.no_grad():
            super().apply(grads, trainable_variables)

    def is_traced(self) -> bool:
        return torch.compiler.is_compiling()

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        return self.add_variable(shape, filled_with(start), dtype, name=name)

    def write(self, writes: Sequence[tuple[Any, Any]]) -> None:
        # Assignment writes in place: a value that lives in another of the variables is read before that one changes.
        homes = {variable.value.untyped_storage().data_ptr() for variable, _ in writes}
        values = [
            value if value is variable.value or value.untyped_storage().data_ptr() not in homes else value.clone()
            for variable, value in writes
        ]
        for (variable, _), value in zip(writes, values, strict=True):
            variable.assign(value)


def watched(optimizer: Any, observe: Callable[[watch.Step], None]) -> tuple[str, Callable[..., Any]]:
    """Returns the name of the method that takes a step, and one for its place that shows each step to `observe`."""

    def copy(variable: Any) -> Any:
        return variable.value.detach().clone()

    return "apply", watch.watched_apply(optimizer, observe, list, copy)


def outputs_of(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Splits what a train function returned into its logs and a way to put other logs in their place."""
    return result, lambda logs: logs


def values_at(model: Any, arguments: Sequence[Any]) -> tuple[list[Any], list[Any]]:  # noqa: ARG001
    """Returns the values of the trainable and of the other variables, where a train step with `arguments` begins."""
    every = (model.trainable_variables, model.non_trainable_variables)
    trainable, other = ([v.value.detach().clone() for v in variables] for variables in every)
    return trainable, other


def timed(arguments: Sequence[Any]) -> tuple[Sequence[Any], Callable[[Any], float | None]]:
    """Returns the arguments of a train function, and what then says how long it waited for data inside the call.

    That function gets what `arrival` kept; it returns seconds, or None if nobody knows.
    """
    return arguments, lambda _: 0.0  # Keras fetches the batch before it calls the callbacks.


def arrival(model: Any, leaves: Sequence[Any]) -> dict[str, Any]:  # noqa: ARG001
    """Returns what to keep of a step, under `arrived`, that tells when its data had arrived."""
    return {}


def device_memory() -> dict[str, int]:
    """Returns bytes in use on the device, and their peak, as far as known."""
    if not torch.cuda.is_available():
        return {}
    return {"device": torch.cuda.memory_allocated(), "device_peak": torch.cuda.max_memory_allocated()}


def rounds_anew(model: Any) -> bool:
    """Returns whether a look at a layer's outputs may change how the compiled step rounds."""
    return bool(model.jit_compile) and not model.run_eagerly


def apart(tensor: Any, number: Any) -> Any:  # noqa: ARG001
    """Returns a tensor of a step in a form that may be kept without a change of how the step rounds."""
    return tensor


def dense(gradient: Any) -> Any:
    """Returns a gradient as one tensor, also that of an embedding."""
    return gradient


def square_sums(tensors: Sequence[Any]) -> Any:
    """Returns the sum of squares of each tensor's elements, as a float32 vector, in as few operations as can be."""
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors]
    return torch.square(torch.stack(norms))


def replicas_of(model: Any) -> int:  # noqa: ARG001
    """Returns how many replicas take a step together, each with its own part of the batch and its own thread."""
    return 1


def carrying(model: Any, notes: Callable[[], Any]) -> list[tuple[Any, str, Callable[..., Any]]]:  # noqa: ARG001
    """Returns what to put in front of the model's methods, so that what is noted inside a gradient leaves it."""
    return []


def has_stale_trace(model: Any) -> bool:  # noqa: ARG001
    """Returns whether a train function made earlier may go on with variables whose `trainable` has changed since."""
    return False


def trace() -> Any:
    """Returns what stands for the tracing under way; a tensor made in an inner one must not be used in an outer one."""
    return None


def occurrences(indices: Any, size: int) -> Any:
    """Counts how often each of 0 ... size - 1 occurs in int32 `indices`, as int32: sums of float32 ones end at 2^24.

    Keras' `segment_sum` adds in float32 here whatever the dtype, takes eight times as long, and fails in Inductor.
    """
    zeros = torch.zeros(size, dtype=torch.int32, device=indices.device)
    return zeros.scatter_add(0, indices.long(), torch.ones_like(indices))


def without_gradients() -> Any:
    """Returns a context in which nothing is kept for gradients."""
    return torch.no_grad()


def outside_traces() -> Any:
    """Returns a context in which numbers are computed at once, also while a step is being compiled."""
    return contextlib.nullcontext()


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """Returns what one of two pure functions returns; the other does not run, unless `vmap` needs both."""
    if is_batchedtensor(condition):
        return keras.tree.map_structure(lambda a, b: torch.where(condition, a, b), then(), otherwise())
    return then() if condition else otherwise()


def devices() -> list[str]:
    """Returns what the backend can compute on, for people to read."""
    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return names or ["cpu"]


def random_state() -> Callable[[], None]:
    """Returns a function that puts the backend's own random generators back to where they are now."""
    state = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore() -> None:
        torch.set_rng_state(state)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return restore
