"""Adamax' direction: the mean of the gradients divided by the largest that is not yet forgotten."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdamax(Transform):
    """Divides an average of the gradients by a fading maximum of their absolute values.

    ```
    m <- beta_1 m + (1 - beta_1) g
    w <- max(beta_2 w, |g| + epsilon)
    u  = m / ((1 - beta_1^t) w)
    ```

    `epsilon` is inside the maximum, as in torch and optax; Keras adds it to `w` instead. The paper has none.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the maximum, in [0, 1).
        epsilon: Added to the absolute value of each gradient, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Kingma and Ba 2014, section 7.1, https://arxiv.org/abs/1412.6980.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self, beta_1: Hyperparameter = 0.9, beta_2: Hyperparameter = 0.999, epsilon: Hyperparameter = 1e-8
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("maximum")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "weight_1": 1 - self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "scale": 1 / one_minus_power(self.beta_1, t),
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        w = ops.maximum(slots["maximum"] * h["beta_2"], ops.absolute(u) + h["epsilon"])
        return m * h["scale"] / w, {"momentum": m, "maximum": w}
