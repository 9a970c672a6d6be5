"""Decoupled weight decay."""

from typing import Any

from kopt._core import checks
from kopt._core.configured import register
from kopt.transforms.transform import State, Tensor, Transform


@register
class AddDecayedWeights(Transform):
    """Adds `weight_decay * x` to the update: u <- u + weight_decay x.

    Before the learning rate this is decoupled decay as Keras, torch and optax mean it: the weights shrink by
    `learning_rate * weight_decay` a step.

    Args:
        weight_decay: >= 0. None (the default) stands for the `weight_decay` of the optimizer or of the group.

    Raises:
        ValueError: `weight_decay` is negative or not finite.

    References:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101.
    """

    def __init__(self, weight_decay: float | None = None) -> None:
        self.weight_decay = checks.optional(checks.non_negative, "weight_decay", weight_decay)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight_decay": self.weight_decay or 0.0}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u + x * h["weight_decay"], slots
