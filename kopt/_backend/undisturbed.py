"""A stretch of training that leaves no trace: all that it changes is put back, bit by bit."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from kopt._backend import adapter_module, watch

_ATTRIBUTES = (
    "optimizer",
    "train_function",
    "stop_training",
    "steps_per_execution",
    "_compile_loss",
    "_compile_metrics",
    "_jax_state",
    "_jax_state_synced",
)
_ABSENT = object()


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Keeps a compiled and built model, its optimizers, and all random states as they are while it is trained inside.

    Restored are all variables (weights, statistics, seeds, metrics, optimizers), the train function, and the random
    states of Python, NumPy, Keras and PyTorch. Metrics and loss that are not built yet are hidden, and stay unbuilt:
    the first `fit` builds them from a batch of its own, which takes a permutation from the generator that shuffles.

    Args:
        model: A compiled and built model.
    """
    put_back = [_random_states(), _attributes(model), _values(model)]
    owned = vars(model)
    owned["train_function"], owned["steps_per_execution"] = None, 1
    owned["_compile_metrics"], owned["_compile_loss"] = None, _usable_loss(model._compile_loss)
    try:
        yield
    finally:
        for restore in reversed(put_back):
            restore()


@contextlib.contextmanager
def kept_random_states() -> Iterator[None]:
    """Puts the random states of Python, NumPy, Keras and PyTorch back when the context ends."""
    restore = _random_states()
    try:
        yield
    finally:
        restore()


def put_optimizer(model: Any, optimizer: Any) -> None:
    """Gives a model another optimizer inside `undisturbed`, past Keras' tracking of attributes."""
    vars(model)["optimizer"] = optimizer


def rate_variable(optimizer: Any) -> Any:
    """Returns the variable that holds a constant learning rate; None where the rate is a schedule or a function."""
    rate = watch.innermost(optimizer)._learning_rate
    return rate if isinstance(rate, keras.Variable) else None


def set_schedule(model: Any, optimizer: Any, schedule: Any) -> None:
    """Puts another schedule in the place of an optimizer's; what was compiled with the old one is dropped."""
    vars(watch.innermost(optimizer))["_learning_rate"] = schedule
    if model.train_function is not None:
        model.make_train_function(force=True)


def schedule_of(optimizer: Any) -> Any:
    """Returns the schedule that the learning rate follows, or the function that gives it; None for a constant."""
    rate = watch.innermost(optimizer)._learning_rate
    return None if isinstance(rate, keras.Variable) else rate


def copy_state(source: Any, target: Any) -> None:
    """Copies all state but the learning rate from one built optimizer to another of its class.

    Raises:
        ValueError: The two do not have as many variables.
    """
    pairs = [[v for v in optimizer.variables if v is not rate_variable(optimizer)] for optimizer in (source, target)]
    if len(pairs[0]) != len(pairs[1]):
        raise ValueError(f"{type(source).__name__} made from its own config has other state than it has itself.")
    for old, new in zip(*pairs, strict=True):
        new.assign(np.array(ops.convert_to_numpy(old.value)))


def is_built(model: Any) -> bool:
    """Returns whether a model and all layers in it have their variables."""
    return model.built and all(layer.built for layer in watch.flat_layers(model))


def _usable_loss(loss: Any) -> Any:
    if loss is None or loss.built:
        return loss
    return type(loss)(loss._user_loss, loss._user_loss_weights, loss.reduction, loss.output_names)


def _attributes(model: Any) -> Callable[[], None]:
    owned = vars(model)
    before = {name: owned.get(name, _ABSENT) for name in _ATTRIBUTES}

    def restore() -> None:
        for name, value in before.items():
            if value is _ABSENT:
                owned.pop(name, None)
            else:
                owned[name] = value

    return restore


def _values(model: Any) -> Callable[[], None]:
    owners = [model, *watch.optimizers_of(model).values()]
    found = [variable for owner in owners for variable in owner.variables] + list(model.metrics_variables)
    variables = {id(variable): variable for variable in found}.values()
    # Copies: JAX gives the memory of a step's arguments to its results.
    before = [(variable, np.array(ops.convert_to_numpy(variable.value))) for variable in variables]

    def restore() -> None:
        for variable, value in before:
            variable.assign(value)

    return restore


def _random_states() -> Callable[[], None]:
    python, numpy, backend = random.getstate(), np.random.get_state(), adapter_module.random_state()
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    state = None if generator is None else np.array(ops.convert_to_numpy(generator.state.value))

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        backend()
        if generator is not None:
            generator.state.assign(state)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)

    return restore
