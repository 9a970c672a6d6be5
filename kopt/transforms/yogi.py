"""Yogi's direction: Adam's, with a mean square that moves by bounded steps."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByYogi(Transform):
    """Adam's direction with an additive rule for the mean square, which falls slowly after large gradients.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- v - (1 - beta_2) sign(v - g^2) g^2
    u  = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    ```

    `m` starts at 0, so that weights without gradients stay; optax and pytorch_optimizer start it at
    `initial_accumulator_value`, like `v`. The bias correction is theirs; the paper has none.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: 1 - beta_2 is the largest share of g^2 by which `v` moves, in [0, 1).
        epsilon: Added to the root, behind the bias correction, >= 0.
        initial_accumulator_value: What `v` starts at, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Zaheer et al. 2018, "Adaptive methods for nonconvex optimization",
        https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-3,
        initial_accumulator_value: float = 1e-6,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.initial_accumulator_value = checks.non_negative("initial_accumulator_value", initial_accumulator_value)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity", start=self.initial_accumulator_value)]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return moment_scalars(self.beta_1, self.beta_2, self.epsilon, t)

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        square = ops.square(u)
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] - ops.sign(slots["velocity"] - square) * square * h["weight_2"]
        return m * h["scale"] / (ops.sqrt(v) + h["epsilon"]), {"momentum": m, "velocity": v}
