"""What a model was compiled with, for another model that stands in its place."""

from typing import Any

import keras

from kopt._backend import watch


def compile_like(new: keras.Model, model: keras.Model, optimizer: Any = None) -> None:
    """Compiles a model with what another one was compiled with; does nothing if that one is not compiled.

    Losses are those of the other model, metrics are copies without what they have counted, and so is the optimizer: its
    moments and its count of steps begin anew.

    Args:
        new: The model to compile, with the same variables in the same order or another one.
        model: The other one.
        optimizer: In place of a copy of that of `model`.
    """
    if not model.compiled:
        return
    arguments = watch.compile_arguments(model)
    if optimizer is None and arguments.get("optimizer") is not None:
        optimizer = fresh(model.optimizer, is_in_order=_places(model) == _places(new))
    kinds = ("metrics", "weighted_metrics")
    copies = {name: own_copies(arguments[name]) for name in kinds if name in arguments}
    new.compile(**arguments | copies | {"optimizer": optimizer})
    if optimizer is not None and new.built:
        new.optimizer.build(new.trainable_variables)


def fresh(optimizer: Any, *, is_in_order: bool = True) -> Any:
    """Returns an optimizer like the given one that has taken no step.

    Args:
        optimizer: Of Keras or kopt.
        is_in_order: Whether the variables that it will get are in the order of those that it had.
    """
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


def _places(model: keras.Model) -> list[str]:
    return [variable.path for variable in model.trainable_variables]
