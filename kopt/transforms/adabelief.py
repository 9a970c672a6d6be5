"""AdaBelief's direction: the mean of the gradients divided by how far they stray from it."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByBelief(Transform):
    """Divides an average of the gradients by the root of the mean square of their deviations from it.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) (g - m)^2 + epsilon
    u  = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    ```

    `epsilon` enters twice, as in the paper: into `v` at each step, where it adds up to epsilon / (1 - beta_2), and
    behind the root.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared deviations, in [0, 1).
        epsilon: Added to `v` at each step and to the root, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self, beta_1: Hyperparameter = 0.9, beta_2: Hyperparameter = 0.999, epsilon: Hyperparameter = 1e-16
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("deviation")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return moment_scalars(self.beta_1, self.beta_2, self.epsilon, t) | {"growth": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["deviation"] + (ops.square(u - m) - slots["deviation"]) * h["weight_2"] + h["growth"]
        return m * h["scale"] / (ops.sqrt(v) + h["epsilon"]), {"momentum": m, "deviation": v}
