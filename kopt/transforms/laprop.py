"""LaProp's direction: an average of gradients that were divided by the root of their mean square."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByLaprop(Transform):
    """Adam with the division in front of the average.

    ```
    v <- beta_2 v + (1 - beta_2) g^2
    m <- beta_1 m + (1 - beta_1) g / (sqrt(v / (1 - beta_2^t)) + epsilon)
    u  = m / (1 - beta_1^t)
    ```

    Args:
        beta_1: Decay rate of the average of normalised gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1); any pair of betas is safe.
        epsilon: Added to the root, behind the bias correction, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Ziyin et al. 2020, https://arxiv.org/abs/2002.04839.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self, beta_1: Hyperparameter = 0.9, beta_2: Hyperparameter = 0.999, epsilon: Hyperparameter = 1e-15
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        root = ops.sqrt(one_minus_power(self.beta_2, t))
        return {
            "weight_1": (1 - self.beta_1) * root,
            "beta_1": self.beta_1,
            "weight_2": 1 - self.beta_2,
            "epsilon": root * self.epsilon,
            "scale": 1 / one_minus_power(self.beta_1, t),
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        m = slots["momentum"] * h["beta_1"] + u * h["weight_1"] / (ops.sqrt(v) + h["epsilon"])
        return m * h["scale"], {"momentum": m, "velocity": v}
