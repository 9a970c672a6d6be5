"""Flat parameters: those of the estimator, of the function that builds the model, and of its optimizer."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras

from kopt import optimizers
from kopt._core import checks
from kopt._core.configured import unknown_argument

OPTIMIZER = "optimizer__"
META = "meta"


def arguments_of(build: Callable[..., Any]) -> list[str] | None:
    """Returns the names of the keyword arguments of a function; None if it takes any."""
    parameters = inspect.signature(build).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.name != META]


def takes_meta(build: Callable[..., Any]) -> bool:
    """Returns whether a function wants to know what the data is like."""
    parameters = inspect.signature(build).parameters
    return META in parameters or arguments_of(build) is None


def check_names(owner: str, names: Iterable[str], known: Iterable[str], build: Any) -> None:
    """Raises `TypeError` for a parameter that neither the estimator nor the build function nor the optimizer has."""
    own = arguments_of(build) if callable(build) else None
    for name in names:
        if not name.startswith(OPTIMIZER) and own is not None and name not in own:
            raise unknown_argument(owner, name, [*own, *known, OPTIMIZER + "<argument>"])


def made_optimizer(optimizer: Any, options: dict[str, Any]) -> Any:
    """Returns a new optimizer from a name, a class or an instance, with arguments of its own.

    Args:
        optimizer: A name of `kopt.optimizers` or else of Keras, in small letters; a class; or an instance, of which
            the settings are taken.
        options: Arguments by name, which go before those of an instance.
    """
    named = {name.lower(): getattr(optimizers, name) for name in optimizers.__all__}
    if isinstance(optimizer, str):
        kind = named.get(optimizer.lower())
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer):
            return kind(**options)
        return type(keras.optimizers.get(optimizer))(**options)
    if isinstance(optimizer, type) and issubclass(optimizer, keras.optimizers.Optimizer):
        return optimizer(**options)
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return type(optimizer).from_config(optimizer.get_config() | options)
    raise checks.fail("optimizer", "a name, a class or an instance of an optimizer", optimizer)


def perceptron(
    meta: dict[str, Any], hidden_layer_sizes: tuple[int, ...] = (100,), activation: str = "relu", dropout: float = 0.0
) -> keras.Model:
    """Returns a multi-layer perceptron: the model of an estimator that is given no function to build one.

    Args:
        meta: What the estimator knows of the data.
        hidden_layer_sizes: Units of each hidden layer.
        activation: Of the hidden layers.
        dropout: Share of units that is left out behind each hidden layer, in [0, 1).
    """
    layers: list[Any] = [keras.Input(meta["input_shape_"]), keras.layers.Flatten()]
    for units in hidden_layer_sizes:
        layers.append(keras.layers.Dense(units, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    classes = meta.get("n_classes_")
    last = keras.layers.Dense(classes or meta["n_outputs_"], activation="softmax" if classes else None)
    return keras.Sequential([*layers, last])
