"""Adam's direction: the mean of the gradients divided by the root of their mean square."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdam(Transform):
    """Divides an average of the gradients by the root of an average of their squares.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    u  = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    ```

    `epsilon` is outside the root and is compared with the bias-corrected root, as in the paper, optax and torch. Keras
    adds it before the correction, so that at step t ours equals Keras' with `epsilon * sqrt(1 - beta_2^t)`.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        amsgrad: Whether to divide by the largest `v` so far (Reddi et al. 2018), not by the present one. The maximum is
            taken before bias correction, as in Keras and torch; optax takes it after.
        bias_correction: Whether to divide `m` and `v` by 1 - beta^t. Without it the first steps are up to
            (1 - beta_1) / sqrt(1 - beta_2) times as long.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Kingma and Ba 2014, https://arxiv.org/abs/1412.6980; Reddi et al. 2018, https://arxiv.org/abs/1904.09237.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        *,
        amsgrad: bool = False,
        bias_correction: bool = True,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.amsgrad = checks.flag("amsgrad", amsgrad)
        self.bias_correction = checks.flag("bias_correction", bias_correction)

    def slots(self, variable: Any) -> Sequence[Slot]:
        names = ["momentum", "velocity", *(["largest_velocity"] if self.amsgrad else [])]
        return [Slot(name) for name in names]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        if self.bias_correction:
            return moment_scalars(self.beta_1, self.beta_2, self.epsilon, t)
        return {"weight_1": 1 - self.beta_1, "weight_2": 1 - self.beta_2, "scale": 1.0, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        new: State = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = new["largest_velocity"] = ops.maximum(slots["largest_velocity"], v)
        return m * h["scale"] / (ops.sqrt(v) + h["epsilon"]), new
