"""JAX: forward over reverse."""

from collections.abc import Callable
from typing import Any

import jax


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a pure function of tensors in compiled form."""
    return jax.jit(function)


def gradient_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function with the arguments of `loss` that returns the loss and its gradient by the first one."""
    return jax.jit(jax.value_and_grad(loss))


def product_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a direction and the arguments of `loss`: the Hessian by the first one, times that."""

    def product(direction: Any, weights: Any, *rest: Any) -> Any:
        return jax.jvp(lambda point: jax.grad(loss)(point, *rest), (weights,), (direction,))[1]

    return jax.jit(product)


def input_gradient(function: Callable[..., Any], point: Any) -> Any:
    """Returns the gradient of a scalar function at a point, as a tensor that can be differentiated further."""
    return jax.grad(function)(point)
