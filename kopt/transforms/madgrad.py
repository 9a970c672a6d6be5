"""MADGRAD's step: dual averaging from the weights at the start, over the cube root of the sum of squares."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.rate import inverse_rate
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByMadgrad(Transform):
    """Moves the weights towards a point that all gradients so far and the first weights define.

    ```
    l  = learning_rate sqrt(t)
    s <- s + l g
    v <- v + l g^2
    z  = x_1 - s / (v^(1/3) + epsilon)           x_1: the weights before the first step
    u  = (1 - momentum) (x - z) / learning_rate
    ```

    Without momentum x_1 is not kept: x + s / (v^(1/3) + epsilon), before the new gradient, stands in its place.

    `u` is divided by the rate that `ScaleByLearningRate` puts back, so that weight decay and other transforms find
    their place as in any chain. A rate of 0 holds the weights. Where the divisor is 0, so is the quotient.

    Args:
        momentum: Share of the way to `z` that is left, in [0, 1).
        epsilon: Added to the cube root, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """

    schedulable = ("momentum", "epsilon")

    def __init__(self, momentum: Hyperparameter = 0.9, epsilon: Hyperparameter = 1e-6) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        start = [Slot("initial_value", start="variable")] if self.momentum else []
        return [Slot("sum_of_gradients"), Slot("sum_of_squares"), *start]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "weight": learning_rate * ops.sqrt(t),
            "share": (1 - self.momentum) * inverse_rate(learning_rate),
            "epsilon": self.epsilon,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        s, v = slots["sum_of_gradients"], slots["sum_of_squares"]
        way = x - slots["initial_value"] if "initial_value" in slots else -_way(s, v, h["epsilon"])
        s = s + u * h["weight"]
        v = v + ops.square(u) * h["weight"]
        u = (way + _way(s, v, h["epsilon"])) * h["share"]
        return u, {**slots, "sum_of_gradients": s, "sum_of_squares": v}


def _way(s: Tensor, v: Tensor, epsilon: Tensor) -> Tensor:
    """Returns s / (v^(1/3) + epsilon)."""
    divisor = ops.power(v, 1 / 3) + epsilon
    return ops.where(divisor > 0, s / divisor, ops.zeros_like(s))
