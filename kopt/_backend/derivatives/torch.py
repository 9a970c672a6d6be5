"""PyTorch: autograd twice."""

from collections.abc import Callable
from typing import Any

import torch


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a pure function of tensors that keeps nothing for gradients."""
    return torch.no_grad()(function)


def gradient_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function with the arguments of `loss` that returns the loss and its gradient by the first one."""

    def value_and_gradient(weights: Any, *rest: Any) -> Any:
        with torch.enable_grad():
            points = _leaves(weights)
            value = loss(points, *rest)
            gradients = torch.autograd.grad(value, points, allow_unused=True)
        return value.detach(), _dense(gradients, points)

    return value_and_gradient


def product_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a direction and the arguments of `loss`: the Hessian by the first one, times that."""

    def product(direction: Any, weights: Any, *rest: Any) -> Any:
        with torch.enable_grad():
            points = _leaves(weights)
            gradients = torch.autograd.grad(loss(points, *rest), points, create_graph=True, allow_unused=True)
            pairs = zip(gradients, direction, strict=True)
            along = sum((g * v).sum() for g, v in pairs if g is not None and g.requires_grad)
            if not isinstance(along, torch.Tensor):  # A loss that is linear in the weights.
                return [torch.zeros_like(point) for point in points]
            second = torch.autograd.grad(along, points, allow_unused=True)
        return _dense(second, points)

    return product


def _leaves(weights: Any) -> list[Any]:
    return [weight.detach().requires_grad_() for weight in weights]


def _dense(gradients: Any, points: Any) -> list[Any]:
    return [torch.zeros_like(point) if g is None else g.detach() for g, point in zip(gradients, points, strict=True)]


def input_gradient(function: Callable[..., Any], point: Any) -> Any:
    """Returns the gradient of a scalar function at a point, as a tensor that can be differentiated further."""
    point = point.detach().requires_grad_()
    return torch.autograd.grad(function(point), point, create_graph=True)[0]
