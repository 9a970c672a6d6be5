"""Decoupled weight decay."""

from typing import Any

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import State, Tensor, Transform


@register
class AddDecayedWeights(Transform):
    """Adds `weight_decay * x` to the update: u <- u + weight_decay x.

    Before the learning rate this is decoupled decay as Keras, torch and optax mean it: the weights shrink by
    `learning_rate * weight_decay` a step. In front of a recipe it is L2 regularization, which the recipe rescales.

    Args:
        weight_decay: >= 0. None (the default) stands for the `weight_decay` of the optimizer or of the group.
        proximal: Whether to solve for the new weights instead: x <- (x - u) / (1 + learning_rate weight_decay), to be
            placed behind the learning rate. Weights then never change sign by decay alone, however large it is.

    Raises:
        ValueError: `weight_decay` is negative or not finite.

    References:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101; Parikh and Boyd 2014, "Proximal algorithms".
    """

    decays = True
    schedulable = ("weight_decay",)

    def __init__(self, weight_decay: Hyperparameter | None = None, *, proximal: bool = False) -> None:
        self.weight_decay = checks.optional(checks.non_negative, "weight_decay", weight_decay)
        self.proximal = checks.flag("proximal", proximal)

    @property
    def takes_decay(self) -> bool:
        return self.weight_decay is None

    def with_weight_decay(self, weight_decay: float) -> "AddDecayedWeights | None":
        return AddDecayedWeights(weight_decay, proximal=self.proximal) if weight_decay else None

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        decay = 0.0 if self.weight_decay is None else self.weight_decay
        return {"weight_decay": learning_rate * decay if self.proximal else decay}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        if self.proximal:
            return (u + x * h["weight_decay"]) / (1 + h["weight_decay"]), slots
        return u + x * h["weight_decay"], slots
