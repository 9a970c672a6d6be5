"""What the step benchmark compares: an optimizer and how one backend runs a step of it.

Backends and Keras are imported inside the functions: a process runs one of them, chosen by its environment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from parameter_sets import Shape

MODES = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ("apply",)}
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 4e-3

Make = Callable[[], "Competitor"]


@dataclass
class Competitor:
    """One way to make a step.

    Attributes:
        build: Creates the state; called once.
        step: Runs one step and returns when it is done; the first call traces and compiles.
    """

    build: Callable[[], None]
    step: Callable[[], None]


def rivals(backend: str) -> tuple[str, ...]:
    """Returns the names of those that compete on a backend; the ratios are to `keras`."""
    return ("kopt", "keras", "torch fused") if backend == "torch" else ("kopt", "keras")


def competitors(backend: str, mode: str, shapes: Sequence[Shape]) -> dict[str, Make]:
    """Returns who competes, by name; each call of a value makes a fresh competitor with variables of its own."""
    import keras

    import kopt

    def adamw(of: Any) -> Callable[[], Any]:
        return lambda: of.AdamW(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    found = driven(mode, shapes, {"kopt": adamw(kopt.optimizers), "keras": adamw(keras.optimizers)})
    if backend == "torch":
        found["torch fused"] = lambda: _torch_fused(*_numbers(shapes))
    return found


def driven(mode: str, shapes: Sequence[Shape], optimizers: Mapping[str, Callable[[], Any]]) -> dict[str, Make]:
    """Returns a competitor for each function that makes an optimizer, all on the same kernels and gradients."""
    import keras

    if mode in MODES["tensorflow"]:
        _use_one_thread()
    values, gradients = _numbers(shapes)
    drive = {"graph": _tensorflow, "xla": _tensorflow_xla, "jit": _jax, "apply": _torch}[mode]

    def make(optimizer: Callable[[], Any]) -> Make:
        return lambda: drive(
            optimizer(), [keras.Variable(x, name=f"kernel_{i}") for i, x in enumerate(values)], gradients
        )

    return {name: make(optimizer) for name, optimizer in optimizers.items()}


def _numbers(shapes: Sequence[Shape]) -> tuple[list[Any], list[Any]]:
    """Returns values and gradients."""
    import keras

    chance = np.random.default_rng(0)
    values = [chance.standard_normal(shape, "float32") for shape in shapes]
    return values, [keras.ops.convert_to_tensor(1e-2 * chance.standard_normal(shape, "float32")) for shape in shapes]


def _use_one_thread() -> None:
    import tensorflow as tf

    # TensorFlow raises when this is set again after the first operation.
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _tensorflow(optimizer: Any, variables: list[Any], gradients: list[Any], *, jit_compile: bool = False) -> Competitor:
    import tensorflow as tf

    step = tf.function(lambda: optimizer.apply(gradients, variables), jit_compile=jit_compile, autograph=False)
    return Competitor(build=lambda: optimizer.build(variables), step=step)


def _tensorflow_xla(optimizer: Any, variables: list[Any], gradients: list[Any]) -> Competitor:
    return _tensorflow(optimizer, variables, gradients, jit_compile=True)


def _jax(optimizer: Any, variables: list[Any], gradients: list[Any]) -> Competitor:
    import jax

    # JAX gives donated buffers to results of the same shape in the order of both lists. As in Keras' trainer the orders
    # agree, so that each variable is updated in place; `stateless_apply` itself returns them the other way round.
    def apply(values: list[Any], own: list[Any], gradients: list[Any]) -> tuple[list[Any], list[Any]]:
        return optimizer.stateless_apply(own, gradients, values)

    compiled = jax.jit(apply, donate_argnums=(0, 1))
    state: list[Any] = []

    def build() -> None:
        optimizer.build(variables)
        state[:] = [v.value for v in variables], [v.value for v in optimizer.variables]

    def step() -> None:
        state[:] = jax.block_until_ready(compiled(*state, gradients))

    return Competitor(build, step)


def _torch(optimizer: Any, variables: list[Any], gradients: list[Any]) -> Competitor:
    import torch

    def step() -> None:
        with torch.no_grad():
            optimizer.apply(gradients, variables)

    return Competitor(build=lambda: optimizer.build(variables), step=step)


def _torch_fused(values: list[Any], gradients: list[Any]) -> Competitor:
    import torch

    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in values]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    made: list[torch.optim.Optimizer] = []

    def build() -> None:
        made.append(torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True))

    return Competitor(build, step=lambda: made[0].step())
