"""What layers put out on the way forward of the real step: spread, dead units, saturation."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kopt._backend import adapter_module
from kopt.monitoring.quantity import Numbers, Quantity

_RECTIFIERS = ("relu", "relu6")
_RANGES = {"tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0)}


class Activations(Quantity):
    """Mean and standard deviation of each layer's outputs, dead units of rectifiers, saturation of bounded functions.

    Tags, for layers that have weights or an activation function: `activations_mean/<layer>`,
    `activations_std/<layer>`; `activations_dead_fraction/<layer>` for ReLU: the share of units (along the last axis)
    that put out 0 for all of the batch; `activations_saturated_fraction/<layer>` for tanh and sigmoid: the share of
    outputs within `margin` of the ends of their range, as a fraction of it.

    No second forward pass: these are the outputs of the step itself, dropout included. A layer that is called several
    times shows its last call; what a recurrent cell puts out inside its loop is not seen. With JAX, a model that
    overrides `train_step` shows none; nor does any model under `torch.compile`.

    Args:
        margin: What counts as saturated, as a fraction of the range; in (0, 0.5).
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, margin: float = 0.005, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        if isinstance(margin, bool) or not isinstance(margin, float) or not 0 < margin < 0.5:
            raise ValueError(f"`margin` must be a number in (0, 0.5). Received: margin={margin!r}.")
        self.margin = margin

    def unsupported(self, model: Any) -> str | None:
        if adapter_module.rounds_anew(model):
            return "`torch.compile` would fuse the layers in another way, and the weights would differ in a last digit."
        return super().unsupported(model)

    def in_forward(self, layer: Any, path: str, outputs: Any) -> Numbers:
        function = _activation(layer)
        if not (layer.weights or function) or not _is_float_tensor(outputs):
            return {}
        values = ops.cast(outputs, "float32")
        mean = ops.mean(values)
        found: Numbers = {
            f"activations_mean/{path}": mean,
            f"activations_std/{path}": ops.sqrt(ops.mean(ops.square(values - mean))),
        }
        if function in _RECTIFIERS:
            units = ops.max(values, axis=tuple(range(len(values.shape) - 1)))
            found[f"activations_dead_fraction/{path}"] = ops.mean(ops.cast(units <= 0.0, "float32"))
        if function in _RANGES:
            low, high = _RANGES[function]
            edge = self.margin * (high - low)
            ends = ops.logical_or(values < low + edge, values > high - edge)
            found[f"activations_saturated_fraction/{path}"] = ops.mean(ops.cast(ends, "float32"))
        return found

    def in_step(self, seen: Any) -> Numbers:
        return {tag: value for tag, value in seen.numbers.items() if str(tag).startswith("activations_")}


def _activation(layer: Any) -> str:
    if isinstance(layer, keras.layers.ReLU):
        return "relu" if not (layer.negative_slope or layer.threshold) else ""
    function = getattr(layer, "activation", None)
    name = str(getattr(function, "__name__", ""))
    return "" if name == "linear" else name


def _is_float_tensor(outputs: Any) -> bool:
    is_one = ops.is_tensor(outputs) and len(outputs.shape) > 0
    return is_one and keras.backend.is_float_dtype(keras.backend.standardize_dtype(outputs.dtype))
