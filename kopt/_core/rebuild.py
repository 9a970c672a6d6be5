"""Making a model anew from its config: with fresh weights or its own, and with whatever was changed in the config."""

import copy
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kopt._backend import watch

Edit = Callable[[dict[str, Any]], None]
_RULE = "a model that can be made anew from its config"


def refused(model: Any, why: str, *, argument: str, rule: str = _RULE, advice: str = "") -> ValueError:
    """Returns the error for a model that cannot be made anew; `why` is a clause."""
    received = f"Received: {model.name!r} of class {type(model).__name__}: {why}."
    return ValueError(f"`{argument}` must be {rule}. {received} {advice}".strip())


def remade(
    model: keras.Model,
    edit: Edit,
    *,
    argument: str,
    rule: str = _RULE,
    advice: str = "",
    keep_weights: bool = False,
    without: Callable[[Any], bool] | None = None,
    functions: dict[str, Any] | None = None,
) -> keras.Model:
    """Returns a new model with the layers of `model`, uncompiled, made from its config as `edit` has changed it.

    Sequential, Functional and nested models and layers that are called several times come out as they were. Weights are
    fresh, except those of frozen layers and what layers have learnt by `adapt`. Layers may be added to the models'
    configs, under names of their own.

    Args:
        model: Any model whose config says how to make it.
        edit: Changes the serialized model, with `"class_name"` and `"config"`, in place.
        argument: What the model is called in errors.
        rule: What it must be, in errors.
        advice: What else to do, in errors.
        keep_weights: Whether to begin with the weights of `model`.
        without: Says which layers `edit` takes out; None for none.
        functions: What `edit` puts in and Keras may not know, by name.

    Raises:
        ValueError: The model cannot be made anew from its config.
    """
    words = {"argument": argument, "rule": rule, "advice": advice}
    config, known = _serialized(model, words)
    edit(config)
    try:
        with watch.without_tensorflow():
            # The config was never outside of this process: what is in it may be trusted.
            new = keras.saving.deserialize_keras_object(
                config, custom_objects=known | (functions or {}), safe_mode=False
            )
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise refused(model, _first_line(error), **words) from error
    if not isinstance(new, keras.Model):
        raise refused(model, f"its config makes a {type(new).__name__}", **words)
    pairs = counterparts(model, new, without)
    if pairs is None or (model.built and any(_shapes(a) != _shapes(b) for a, b in pairs if a.built)):
        raise refused(model, "its config makes other layers, as it does where nested models share one", **words)
    _give_state(pairs, keep_weights=keep_weights)
    return new


def _give_state(pairs: list[tuple[Any, Any]], *, keep_weights: bool) -> None:
    """Gives layers flags, names of inputs and, where they keep any, weights; the first pair are the models."""
    for old, new in pairs:  # The outer first: it sets those inside.
        new.trainable = old.trainable
    for old, new in pairs[1:]:
        if old.built and (keep_weights or _keeps_state(old)):
            _copy_state(old, new)
    model, whole = pairs[0]
    if keep_weights:
        _copy_state(model, whole)
    if watch.is_graph(model) and model.built and whole.built:
        # Keras names the tensor of an input as its layer, where the user's own has a name by number.
        for old, new in zip(model.inputs, whole.inputs, strict=True):
            new.name = old.name


def counterparts(old: Any, new: Any, without: Callable[[Any], bool] | None = None) -> list[tuple[Any, Any]] | None:
    """Returns each layer of a model, the outer before the inner, beside that of a model made anew; the models first.

    Those of Sequential and Functional models are told by their names, others by their place. None if one is missing, is
    of another class, or has become two.

    Args:
        old: The model.
        new: What was made of its config, maybe with further layers.
        without: Says which layers of `old` the new one lacks; None for none.
    """
    found: dict[int, tuple[Any, Any]] = {}
    waiting = [(old, new)]
    for first, second in waiting:  # It grows on the way.
        if id(first) in found:
            if found[id(first)][1] is not second:
                return None
            continue
        if type(first) is not type(second):
            return None
        found[id(first)] = (first, second)
        inner = [layer for layer in watch.inner_layers(first) if without is None or not without(layer)]
        others = watch.inner_layers(second)
        if watch.is_graph(first):
            others = _by_name(inner, others)
        if len(inner) != len(others):
            return None
        waiting += zip(inner, others, strict=True)
    return list(found.values())


def _by_name(layers: list[Any], others: list[Any]) -> list[Any]:
    """Returns those of the same names; for layers whose config has no name, the next one of the same class."""
    named = {layer.name: layer for layer in others}
    rest = [layer for layer in others if layer.name not in {layer.name for layer in layers}]
    found = []
    for layer in layers:
        other = named.get(layer.name) or next((one for one in rest if type(one) is type(layer)), None)
        rest = [one for one in rest if one is not other]
        found.append(other)
    return found


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yields each serialized object in a config, the outer before the inner."""
    if isinstance(config, dict):
        if is_part(config):
            yield config
        for value in config.values():
            yield from parts(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from parts(value)


def is_part(value: Any) -> bool:
    """Returns whether a value in a config is a serialized object."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict)


def _serialized(model: keras.Model, words: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a model's config, and the classes and functions in it by name."""
    layers = [model, *watch.flat_layers(model)]
    try:
        with warnings.catch_warnings(), watch.without_tensorflow():
            warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
            config = copy.deepcopy(keras.saving.serialize_keras_object(model))
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise refused(model, _first_line(error), **words) from error
    functions = _with_own_functions(config, layers)
    _with_names(config, model)
    known: dict[str, Any] = {}
    # Keras finds its own by their modules; by name alone it would take the operation `Add` for the layer.
    for kind in {type(layer) for layer in layers if not type(layer).__module__.startswith("keras.")}:
        known |= {kind.__name__: kind, keras.saving.get_registered_name(kind): kind}
    for part in parts(config):
        part.pop("compile_config", None)
        if part is not config:  # What is built inside the model has the paths that it had.
            part.pop("build_config", None)
    return config, known | functions


def _with_names(config: dict[str, Any], model: Any) -> None:
    """Gives a name to layers of the user whose config has none, where their constructor takes one."""
    entries, layers = config["config"].get("layers"), watch.inner_layers(model)
    if not watch.is_graph(model) or not isinstance(entries, list):
        return
    named = {layer.name: layer for layer in layers}
    in_order = isinstance(model, keras.Sequential) and len(entries) == len(layers)
    for place, entry in enumerate(entries):
        layer = layers[place] if in_order else named.get(entry.get("name"))
        if layer is None:
            continue
        takes = inspect.signature(type(layer)).parameters.values()
        if any(parameter.name == "name" or parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
            entry["config"].setdefault("name", layer.name)
        _with_names(entry, layer)


def _with_own_functions(config: Any, layers: list[Any]) -> dict[str, Any]:
    """Puts names in place of the code of lambdas, which would lose its globals; returns the functions by name."""
    by_name: dict[str, list[Any]] = {}
    functions: dict[str, Any] = {}
    for layer in layers:
        by_name.setdefault(layer.name, []).append(layer)
        for value in vars(layer).values():
            if isinstance(value, types.FunctionType) and value.__name__ != "<lambda>":
                functions[value.__name__] = value
    for part in parts(config):
        found = by_name.get(part["config"].get("name"), [])
        for key in part["config"] if len(found) == 1 else ():
            function = getattr(found[0], key, getattr(found[0], f"_{key}", None))
            if isinstance(function, types.FunctionType) and function.__name__ == "<lambda>":
                name = f"{found[0].name}/{key}"
                functions[name] = function
                part["config"][key] = {"class_name": "function", "config": name, "registered_name": name}
    return functions


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights] if not watch.is_graph(layer) else []


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
