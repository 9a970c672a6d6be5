"""Adam's direction, shortened where the second moment is out of date."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByStableAdam(Transform):
    """Adam with Adafactor's clipping as a smaller learning rate, one for each variable.

    ```
    b_i = beta_i (1 - beta_i^(t-1)) / (1 - beta_i^t)                  i = 1, 2
    m  <- b_1 m + (1 - b_1) g
    v  <- b_2 v + (1 - b_2) g^2
    u   = (m / (sqrt(v) + epsilon) + weight_decay x) / max(1, rms(g / sqrt(max(v, epsilon^2))))
    ```

    The decay rates b_i grow from 0 to beta_i, so that m and v are Adam's averages with bias correction.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0; its square is the least divisor in the root mean square.
        weight_decay: >= 0, shortened together with the direction. None stands for the `weight_decay` of the optimizer
            or of the group.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Wortsman et al. 2023, https://arxiv.org/abs/2304.13013.
    """

    elementwise = False
    schedulable = ("beta_1", "beta_2", "epsilon", "weight_decay")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.99,
        epsilon: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter | None = 0.0,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.weight_decay = checks.optional(checks.non_negative, "weight_decay", weight_decay)

    @property
    def takes_decay(self) -> bool:
        return self.weight_decay is None

    def with_weight_decay(self, weight_decay: float) -> "ScaleByStableAdam":
        return ScaleByStableAdam(**(self.arguments | {"weight_decay": weight_decay}))

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "weight_1": (1 - self.beta_1) / one_minus_power(self.beta_1, t),
            "weight_2": (1 - self.beta_2) / one_minus_power(self.beta_2, t),
            "epsilon": self.epsilon,
            "least_velocity": self.epsilon**2,
            "weight_decay": 0.0 if self.weight_decay is None else self.weight_decay,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        rms = ops.sqrt(ops.mean(ops.square(u) / ops.maximum(v, h["least_velocity"])))
        direction = m / (ops.sqrt(v) + h["epsilon"]) + x * h["weight_decay"]
        return direction / ops.maximum(rms, 1.0), {"momentum": m, "velocity": v}
