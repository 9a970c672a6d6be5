"""Adan's direction: averages of the gradients and of their changes, divided by the size of a gradient ahead."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdan(Transform):
    """Divides the averages of gradients and of their differences by the root of a mean square that looks ahead.

    ```
    d  = g - g_previous, 0 at the first step
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) d
    n <- beta_3 n + (1 - beta_3) (g + beta_2 d)^2
    u  = (m / (1 - beta_1^t) + beta_2 v / (1 - beta_2^t)) / (sqrt(n / (1 - beta_3^t)) + epsilon)
    ```

    The paper writes 1 - beta for our beta, and has no bias correction; its authors' code has. optax multiplies `d` and
    `v` by 1 - beta_2 where the paper, in our letters, has beta_2.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of differences, and their weight, in [0, 1).
        beta_3: Decay rate of the average of squares, in [0, 1).
        epsilon: Added to the root, behind the bias correction, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Xie et al. 2022, https://arxiv.org/abs/2208.06677.
    """

    schedulable = ("beta_1", "beta_2", "beta_3", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.98,
        beta_2: Hyperparameter = 0.92,
        beta_3: Hyperparameter = 0.99,
        epsilon: Hyperparameter = 1e-8,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.beta_3 = checks.fraction("beta_3", beta_3)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("difference"), Slot("velocity"), Slot("previous_gradient")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        root = ops.sqrt(one_minus_power(self.beta_3, t))
        return {
            "weight_1": 1 - self.beta_1,
            "weight_2": 1 - self.beta_2,
            "weight_3": 1 - self.beta_3,
            "beta_2": self.beta_2,
            "has_previous": ops.cast(t > 1, "float32"),
            "scale": root / one_minus_power(self.beta_1, t),
            "difference_scale": root * self.beta_2 / one_minus_power(self.beta_2, t),
            "epsilon": root * self.epsilon,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        d = (u - slots["previous_gradient"]) * h["has_previous"]
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["difference"] + (d - slots["difference"]) * h["weight_2"]
        n = slots["velocity"] + (ops.square(u + d * h["beta_2"]) - slots["velocity"]) * h["weight_3"]
        new: State = {"momentum": m, "difference": v, "velocity": n, "previous_gradient": u}
        return (m * h["scale"] + v * h["difference_scale"]) / (ops.sqrt(n) + h["epsilon"]), new
