"""Facts of a model: its layers, what its outputs and losses are, how its kernels are initialised."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import watch

_NORMALIZING = ("Normalization", "Rescaling", "Discretization", "Hashing", "Embedding", "StringLookup", "TextVector")
_PASSING = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout, keras.layers.Identity)
_OTHER_SHAPES = (keras.layers.EinsumDense, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_MOST_NUMBERS = 4_000_000


def model_facts(model: Any) -> dict[str, Any]:
    """Returns facts of a built and compiled model as plain Python; reads weights, changes nothing."""
    layers = watch.layers_by_path(model)
    ends = output_layers(model)
    is_graph = isinstance(model, keras.Sequential) or hasattr(model, "operations")
    optimizer = watch.innermost(model.optimizer) if getattr(model, "optimizer", None) is not None else None
    return {
        "is_graph": is_graph,
        "weights": int(sum(math.prod(v.shape) for v in model.weights)),
        "trainable_weights": int(sum(math.prod(v.shape) for v in model.trainable_weights)),
        "trainable": watch.unique_paths(model, list(model.trainable_variables)),
        "optimizer": None if optimizer is None else type(optimizer).__name__,
        "steps_done": watch.steps_done(model),
        "inputs_are_scaled": _begins_with(layers, _NORMALIZING),
        "is_normalized": any("Normalization" in type(layer).__name__ for layer in layers.values()),
        "layers": [_layer(path, layer, ends) for path, layer in layers.items()],
        "kernels": kernel_facts(model),
        "outputs": _outputs(model, ends, layers),
    }


def kernel_facts(model: Any) -> dict[str, dict[str, Any]]:
    """Returns, of each trainable matrix or convolution kernel by path, its gain and whether its units are all equal."""
    found: dict[str, dict[str, Any]] = {}
    ends = {id(v) for layer in output_layers(model) if layer is not None for v in layer.weights}
    variables = list(model.trainable_variables)
    looped, shaped = _inside(model, keras.layers.RNN), _inside(model, _OTHER_SHAPES)
    for path, variable in zip(watch.unique_paths(model, variables), variables, strict=True):
        shape = variable.shape
        if variable.name.rsplit("/", 1)[-1] not in ("kernel", "recurrent_kernel") or not 2 <= len(shape) <= 5:
            continue
        if math.prod(shape) > _MOST_NUMBERS:
            continue
        values = ops.convert_to_numpy(ops.cast(variable, "float32")).reshape(-1, shape[-1]).astype("float64")
        found[path] = {
            "gain": float(np.sqrt(np.mean(values**2) * values.shape[0])),
            "gain_backward": float(np.sqrt(np.mean(values**2) * (values.shape[0] + shape[-1]) / 2)),
            "units": int(shape[-1]),
            "units_are_equal": shape[-1] > 1 and bool(np.ptp(values, axis=1).max() <= 1e-7 * np.abs(values).max()),
            "is_zero": not values.any(),
            "is_output": id(variable) in ends,
            "is_recurrent": id(variable) in looped,
            "has_other_shape": id(variable) in shaped,
        }
    return found


def output_layers(model: Any) -> list[Any]:
    """Returns the layer that gives each output, None where that cannot be seen."""
    if isinstance(model, keras.Sequential):
        return [_end(model.layers)] if model.layers else [None]
    if not hasattr(model, "operations"):
        return []
    outputs = keras.tree.flatten(model.outputs)
    return [_giver(output, list(model.layers)) for output in outputs]


def _end(layers: list[Any]) -> Any:
    for layer in reversed(layers):
        if isinstance(layer, keras.Model):
            found = output_layers(layer)
            return found[0] if len(found) == 1 else None
        if not isinstance(layer, _PASSING):
            return layer
    return None


def _giver(tensor: Any, layers: list[Any]) -> Any:
    for layer in layers:
        try:
            given, taken = keras.tree.flatten(layer.output), keras.tree.flatten(layer.input)
        except (AttributeError, ValueError):  # Called several times, or never.
            continue
        if not any(each is tensor for each in given):
            continue
        if isinstance(layer, keras.Model):
            found = output_layers(layer)
            return found[0] if len(found) == 1 else None
        return _giver(taken[0], layers) if isinstance(layer, _PASSING) and len(taken) == 1 else layer
    return None


def activation_of(layer: Any) -> str | None:
    """Returns the name of a layer's activation function, `"linear"` if it has none, or None if it is not known."""
    if layer is None:
        return None
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    function = getattr(layer, "activation", None)
    if function is not None:
        name = getattr(function, "__name__", "")
        # A function of the user's own may do anything.
        return name if getattr(keras.activations, name, None) is function else None
    return "linear" if isinstance(layer, keras.layers.Dense) else None


def _layer(path: str, layer: Any, ends: list[Any]) -> dict[str, Any]:
    is_output = any(layer is end for end in ends)
    return {
        "path": path,
        "kind": type(layer).__name__,
        "activation": activation_of(layer),
        "trainable": bool(layer.trainable_weights),
        "has_weights": bool(layer.weights),
        "is_output": is_output,
    }


def _outputs(model: Any, ends: list[Any], layers: dict[str, Any]) -> list[dict[str, Any]]:
    names = getattr(model, "output_names", None)
    losses = _losses(model, names)
    paths = {id(layer): path for path, layer in layers.items()}
    found = []
    for place in range(max(len(ends), len(losses))):
        layer = ends[place] if place < len(ends) else None
        shape = model.outputs[place].shape if ends and getattr(model, "outputs", None) else None
        before = _is_softmax_before(model, layer)
        loss = losses[place] if place < len(losses) else None
        found.append(
            {
                "layer": paths.get(id(layer)),
                "activation": activation_of(layer),
                "softmax_twice": before,
                "units": None if shape is None or len(shape) < 2 else shape[-1],
                "trainable": None if layer is None or not layer.weights else bool(layer.trainable_weights),
                "seen_as": "all" if max(len(ends), len(losses)) == 1 else str(place),
                **_loss_facts(loss),
            }
        )
    return found


def _is_softmax_before(model: Any, layer: Any) -> bool:
    """Returns whether a softmax layer stands behind a layer that has a softmax already."""
    if layer is None or activation_of(layer) != "softmax" or layer.weights:
        return False
    if isinstance(model, keras.Sequential):
        place = next((i for i, each in enumerate(model.layers) if each is layer), 0)
        return place > 0 and activation_of(_end(model.layers[:place])) == "softmax"
    taken = keras.tree.flatten(layer.input)
    return len(taken) == 1 and activation_of(_giver(taken[0], list(model.layers))) == "softmax"


def _losses(model: Any, names: Any) -> list[Any]:
    loss = getattr(model, "loss", None)
    if loss is None:
        return []
    if isinstance(loss, dict):
        # Keras goes through dicts in the order of their keys.
        is_by_layer = names is not None and set(loss) <= set(names)
        return [loss.get(name) for name in (names if is_by_layer else sorted(loss))]
    return list(loss) if isinstance(loss, list | tuple) else [loss]


def _loss_facts(loss: Any) -> dict[str, Any]:
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if loss is None:
        return {"loss": None, "from_logits": False}
    if not isinstance(loss, keras.losses.Loss):
        return {"loss": str(getattr(loss, "__name__", type(loss).__name__)), "from_logits": False}
    with watch.without_tensorflow():
        config = loss.get_config()
    return {"loss": _snake(type(loss).__name__), "from_logits": bool(config.get("from_logits", False))}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _begins_with(layers: dict[str, Any], kinds: tuple[str, ...]) -> bool:
    first = [layer for layer in layers.values() if not isinstance(layer, keras.layers.InputLayer)][:2]
    return any(kind in type(layer).__name__ for layer in first for kind in kinds)


def _inside(model: Any, kinds: Any) -> set[int]:
    found = [layer for layer in watch.flat_layers(model) if isinstance(layer, kinds)]
    return {id(variable) for layer in found for variable in layer.weights}
