"""Making a model anew from its config, with fresh weights and the penalties and dropout rates of a trial."""

import copy
import types
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kopt._backend import watch
from kopt.tuning.wanted import Wanted

_ADVICE = (
    "Give a function that builds the model instead, with what is searched taken from its `hp`: "
    '`hp.get("dropout")`, `hp.get("l2")`.'
)


def rebuilt(model: keras.Model, wanted: Wanted, *, keep_weights: bool = False) -> keras.Model:
    """Returns a new model with the layers of `model`, uncompiled, with the numbers that are wanted in place of its own.

    Sequential, Functional and nested models and layers that are called several times come out as they were. Weights are
    fresh, except those of frozen layers and what layers have learnt by `adapt`.

    Args:
        model: Any model whose config says how to make it.
        wanted: Numbers to put in.
        keep_weights: Whether to begin with the weights of `model`.

    Raises:
        ValueError: The model cannot be made anew from its config, has no layer for a number that is wanted, or has
            layers that the number does not reach.
    """
    new = _from_config(model, wanted)
    pairs = list(zip(watch.flat_layers(model), watch.flat_layers(new), strict=False))
    same = len(watch.flat_layers(model)) == len(watch.flat_layers(new)) and all(type(a) is type(b) for a, b in pairs)
    if not same or (model.built and _shapes(model) != _shapes(new)):
        raise _refused(model, "its config makes other layers, as it does where nested models share one")
    for old_layer, layer in [(model, new), *pairs]:  # The outer first: it sets those inside.
        layer.trainable = old_layer.trainable
    for old_layer, layer in pairs:
        if old_layer.built and (keep_weights or _keeps_state(old_layer)):
            _copy_state(old_layer, layer)
    wanted.check(new)
    return new


def _from_config(model: keras.Model, wanted: Wanted) -> keras.Model:
    layers = [model, *watch.flat_layers(model)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
            config = copy.deepcopy(keras.saving.serialize_keras_object(model))
        functions = _with_own_functions(config, layers)
        known: dict[str, Any] = {}
        for kind in map(type, layers):
            known |= {kind.__name__: kind, keras.saving.get_registered_name(kind): kind}
        for part in _parts(config):
            part.pop("compile_config", None)
            wanted.edit(part)
        # The config was never outside of this process: what is in it may be trusted.
        known |= functions
        new = keras.saving.deserialize_keras_object(config, custom_objects=known, safe_mode=False)
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise _refused(model, str(error).strip().split("\n")[0]) from error
    if not isinstance(new, keras.Model):
        raise _refused(model, f"its config makes a {type(new).__name__}")
    return new


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yields each serialized object in a config, the outer before the inner."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _parts(value)


def _with_own_functions(config: Any, layers: list[Any]) -> dict[str, Any]:
    """Puts names in place of the code of lambdas, which would lose its globals; returns the functions by name."""
    by_name: dict[str, list[Any]] = {}
    functions: dict[str, Any] = {}
    for layer in layers:
        by_name.setdefault(layer.name, []).append(layer)
        for value in vars(layer).values():
            if isinstance(value, types.FunctionType) and value.__name__ != "<lambda>":
                functions[value.__name__] = value
    for part in _parts(config):
        found = by_name.get(part["config"].get("name"), [])
        for key in part["config"] if len(found) == 1 else ():
            function = getattr(found[0], key, getattr(found[0], f"_{key}", None))
            if isinstance(function, types.FunctionType) and function.__name__ == "<lambda>":
                name = f"{found[0].name}/{key}"
                functions[name] = function
                part["config"][key] = {"class_name": "function", "config": name, "registered_name": name}
    return functions


def _shapes(model: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in model.weights]


def _keeps_state(layer: Any) -> bool:
    return hasattr(layer, "adapt") or not layer.trainable


def _copy_state(old: Any, new: Any) -> None:
    if hasattr(old, "get_vocabulary") and hasattr(new, "set_vocabulary"):
        new.set_vocabulary(old.get_vocabulary(include_special_tokens=False))
        return
    if not new.built:
        return
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    # numpy, because JAX would let both models have one buffer.
    new.load_own_variables({key: np.array(keras.ops.convert_to_numpy(value)) for key, value in store.items()})


def _refused(model: keras.Model, why: str) -> ValueError:
    return ValueError(
        f"`build` must be a model that can be made anew from its config, or a function. Received: {model.name!r} of "
        f"class {type(model).__name__}: {why}. {_ADVICE}"
    )
