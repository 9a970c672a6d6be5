"""Adadelta's direction: the gradient in units of the steps that were taken before."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdadelta(Transform):
    """Multiplies the gradient by the root mean square of past updates over that of the gradients.

    ```
    v <- rho v + (1 - rho) g^2
    u  = g sqrt(d + epsilon) / sqrt(v + epsilon)
    d <- rho d + (1 - rho) u^2
    ```

    `d` averages the updates before the learning rate, as in Keras, torch and optax.

    Args:
        rho: Decay rate of both averages, in [0, 1).
        epsilon: Added under both roots, >= 0. The first updates are of size `sqrt(epsilon)`; at 0 nothing moves.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """

    schedulable = ("epsilon",)

    def __init__(self, rho: float = 0.95, epsilon: Hyperparameter = 1e-7) -> None:
        self.rho = checks.fraction("rho", rho)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("velocity"), Slot("average_square_update")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight": 1 - self.rho, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight"]
        d = slots["average_square_update"]
        denominator = v + h["epsilon"]
        u = ops.where(denominator > 0, u * ops.sqrt(d + h["epsilon"]) * ops.rsqrt(denominator), ops.zeros_like(u))
        return u, {"velocity": v, "average_square_update": d + (ops.square(u) - d) * h["weight"]}
