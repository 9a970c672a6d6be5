"""NovoGrad's direction: the gradient divided by the root of an average of its squared norm."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByNovograd(Transform):
    """Divides the gradient of each variable by the root of an average of its squared norm: one number per variable.

    ```
    v  = |g|^2                                   at the first gradient that is not 0
    v <- beta_2 v + (1 - beta_2) |g|^2           afterwards
    u  = g / (sqrt(v) + epsilon)
    ```

    `epsilon` is outside the root, as in the paper and optax. There is no bias correction: `v` starts unbiased.

    Args:
        beta_2: Decay rate of the average, in [0, 1).
        epsilon: Added to the root, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """

    elementwise = False
    schedulable = ("beta_2", "epsilon")

    def __init__(self, beta_2: Hyperparameter = 0.98, epsilon: Hyperparameter = 1e-8) -> None:
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("velocity", shape=())]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight": 1 - self.beta_2, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        square, v = ops.sum(ops.square(u)), slots["velocity"]
        v = ops.where(v > 0, v + (square - v) * h["weight"], square)
        return u / (ops.sqrt(v) + h["epsilon"]), {"velocity": v}
