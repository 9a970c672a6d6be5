"""Penalties and constraints on the weights of a model that cannot be made anew: set where they are."""

from collections.abc import Iterator
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.warn import warn_user
from kopt.regularizers.places import Selection
from kopt.regularizers.wishes import Wishes

# By the names that Keras' layers give their weights.
_ARGUMENTS = {
    "kernel": "kernel_regularizer",
    "depthwise_kernel": "depthwise_regularizer",
    "pointwise_kernel": "pointwise_regularizer",
    "recurrent_kernel": "recurrent_regularizer",
    "bias": "bias_regularizer",
    "embeddings": "embeddings_regularizer",
}


def apply(model: keras.Model, wishes: Wishes, include: Any, exclude: Any, dropout_after: Any = None) -> keras.Model:
    """Gives the variables of a model penalties and constraints, and has its steps compiled anew; returns the model.

    Args:
        model: Any built model.
        wishes: What for.
        include: As in `regularize`.
        exclude: Likewise.
        dropout_after: None, as there is no dropout here.

    Raises:
        ValueError: Something else than penalties and constraints on weights is asked for, or nothing matches.
    """
    if not wishes.is_for_weights_only() or dropout_after is not None:
        advice = "`activity`, `dropout` and `drop_path` need a model that is made anew: its layers take part in them."
        rule = "False for all but penalties and constraints on weights"
        raise checks.fail("in_place", rule, received=True, advice=advice)
    selection = Selection(watch.flat_layers(model), include, exclude)
    met: set[str] = set()
    unsaved: list[str] = []
    for layer, around in _owners(model, ()):
        for variable in _own_variables(layer):
            key = _ARGUMENTS.get(variable.name)
            if key is None or not selection.takes([layer, *around]):
                continue
            for argument in (key, key.replace("_regularizer", "_constraint")):
                if argument in wishes.keys:
                    name, value = wishes.keys[argument]
                    met.add(name)
                    setattr(variable, argument.rpartition("_")[2], value)
                    if argument in vars(layer):
                        setattr(layer, argument, value)
                    unsaved += [] if all(map(_holds_configs, (*around, model))) else [layer.name]
    wishes.check_met(met)
    watch.drop_compiled(model)
    if unsaved:
        warn_user(
            f"What was put on {', '.join(dict.fromkeys(unsaved))} is not saved with {model.name!r}, whose config does "
            "not hold it. Call `regularize(..., in_place=True)` again after loading."
        )
    return model


def _owners(layer: Any, around: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    for inner in watch.inner_layers(layer):
        yield inner, around
        yield from _owners(inner, (inner, *around))


def _holds_configs(layer: Any) -> bool:
    """Returns whether a layer saves the configs of those inside it."""
    return watch.is_graph(layer) or type(layer).__module__.startswith("keras.")


def _own_variables(layer: Any) -> list[Any]:
    inside = {id(variable) for inner in watch.inner_layers(layer) for variable in inner.variables}
    return [variable for variable in layer.variables if id(variable) not in inside]
