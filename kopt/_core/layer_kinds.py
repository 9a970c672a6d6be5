"""What a layer is as far as regularization goes, by its class, its config and its weights."""

import math
import numbers
from typing import Any

import keras

# Which arguments of a layer hold the penalty on what.
REGULARIZERS = {
    "kernel": ("kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer"),
    "recurrent": ("recurrent_regularizer",),
    "bias": ("bias_regularizer",),
    "embeddings": ("embeddings_regularizer",),
    "activity": ("activity_regularizer",),
}
CONSTRAINTS = ("kernel_constraint", "depthwise_constraint", "pointwise_constraint")
INNER_RATES = ("dropout", "recurrent_dropout")  # of recurrent layers and attention
_DROP_PATHS = ("DropPath", "StochasticDepth")


def is_dropout(kind: str) -> bool:
    """Returns whether a class of this name is one of the dropout layers."""
    return kind.endswith(("Dropout", "Dropout1D", "Dropout2D", "Dropout3D"))


def is_drop_path(kind: str) -> bool:
    """Returns whether a class of this name drops residual branches."""
    return kind in _DROP_PATHS


def is_normalization(kind: str) -> bool:
    """Returns whether a class of this name normalizes."""
    return kind.endswith("Normalization") and kind != "SpectralNormalization"


def is_on(rate: Any) -> bool:
    """Returns whether a rate inside a layer is a number above 0."""
    return isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0


def rate_of(layer: Any) -> Any:
    """Returns the rate that a layer was made with; layers whose rate can change have a variable as attribute."""
    return layer.get_config().get("rate")


def is_close(first: Any, second: float) -> bool:
    """Returns whether a number equals another one but for rounding."""
    return isinstance(first, numbers.Real) and math.isclose(first, second, rel_tol=1e-6, abs_tol=1e-12)


def unwrapped(layer: Any) -> Any:
    """Returns the layer inside wrappers such as `TimeDistributed` and `SpectralNormalization`."""
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    return layer
