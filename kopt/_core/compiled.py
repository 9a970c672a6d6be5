"""What a model was compiled with, for another model that stands in its place."""

from collections.abc import Sequence
from typing import Any

import keras

from kopt._backend import watch


def compile_like(new: keras.Model, model: keras.Model, pairs: Sequence[tuple[Any, Any]], optimizer: Any = None) -> None:
    """Compiles a model with what another one was compiled with; does nothing if that one is not compiled.

    Losses are those of the other model, metrics are copies without what they have counted, and so is the optimizer: its
    moments and its count of steps begin anew.

    Args:
        new: The model to compile.
        model: The other one, with the same variables in this order or another one.
        pairs: The layers of `model`, each with its counterpart.
        optimizer: In place of a copy of that of `model`.
    """
    if not model.compiled:
        return
    arguments = watch.compile_arguments(model)
    if optimizer is None and arguments["optimizer"] is not None:
        optimizer = _fresh(arguments["optimizer"], is_in_order=_are_in_order(model, new, pairs))
    kinds = ("metrics", "weighted_metrics")
    copies = {name: own_copies(arguments[name]) for name in kinds if name in arguments}
    new.compile(**arguments | copies | {"optimizer": optimizer})
    if optimizer is not None and new.built:
        new.optimizer.build(new.trainable_variables)


def _fresh(optimizer: Any, *, is_in_order: bool) -> Any:
    """Returns an optimizer like the given one that has taken no step."""
    config = optimizer.get_config()
    if not is_in_order:
        config.pop("assignment", None)  # kopt's: which group has which variable, by place.
    return type(optimizer).from_config(config)


def own_copies(metrics: Any) -> Any:
    """Returns metrics that belong to one model: instances hold counts.

    Args:
        metrics: As for `compile`, or as in its config.
    """
    if isinstance(metrics, dict) and "class_name" in metrics:
        return keras.saving.deserialize_keras_object(metrics)
    if isinstance(metrics, dict):
        return {key: own_copies(value) for key, value in metrics.items()}
    if isinstance(metrics, list | tuple):
        return [own_copies(value) for value in metrics]
    return type(metrics).from_config(metrics.get_config()) if isinstance(metrics, keras.metrics.Metric) else metrics


def _are_in_order(model: keras.Model, new: keras.Model, pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Returns whether the trainable variables of a model stand in the order of those of the other one."""
    whole = [(a, b) for a, b in pairs if not watch.is_graph(a)]
    places = {id(old): id(variable) for a, b in whole for old, variable in zip(a.weights, b.weights, strict=False)}
    return [places.get(id(v)) for v in model.trainable_variables] == [id(v) for v in new.trainable_variables]
