"""TensorFlow: reverse over reverse, which all operations have."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a pure function of tensors in compiled form."""
    return tf.function(function, autograph=False)


def gradient_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function with the arguments of `loss` that returns the loss and its gradient by the first one."""
    return tf.function(lambda weights, *rest: _value_and_gradient(loss, weights, *rest), autograph=False)


def product_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a direction and the arguments of `loss`: the Hessian by the first one, times that."""

    def product(direction: Any, weights: Any, *rest: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            _, gradient = _value_and_gradient(loss, weights, *rest)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradient, direction, strict=True)])
        return _dense(tape.gradient(along, weights), weights)

    return tf.function(product, autograph=False)


def _value_and_gradient(loss: Callable[..., Any], weights: Any, *rest: Any) -> Any:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        value = loss(weights, *rest)
    return value, _dense(tape.gradient(value, weights), weights)


def _dense(gradients: Any, weights: Any) -> Any:
    return [tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for g, w in zip(gradients, weights, strict=True)]


def input_gradient(function: Callable[..., Any], point: Any) -> Any:
    """Returns the gradient of a scalar function at a point, as a tensor that can be differentiated further."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        value = function(point)
    return tape.gradient(value, point)
