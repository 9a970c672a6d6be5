"""ADOPT's direction: an average of gradients, each divided by what was known before it came."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdopt(Transform):
    """Averages gradients that are divided by the root of the mean square of the earlier ones.

    ```
    first step:  v  = g^2,  u = 0
    later:       c  = (t - clip_delay)^clip_exponent
                 m <- beta_1 m + (1 - beta_1) clip(g / max(sqrt(v), epsilon), -c, c)
                 v <- beta_2 v + (1 - beta_2) g^2
                 u  = m
    ```

    `v` enters before the new gradient does, so that the two are independent: with that, the method converges for every
    beta_2. There is no bias correction: `v` starts as a square, and `m` is to grow.

    Args:
        beta_1: Decay rate of the average of normalised gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Smallest divisor, >= 0.
        clip_exponent: How the bound on each element grows, >= 0; None for no bound, as in the paper's first version.
        clip_delay: 1 for the paper's bound, which counts from the second step, and optax'; 0 for one that is a step
            ahead, as in pytorch_optimizer.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """

    schedulable = ("beta_1", "beta_2", "clip_exponent")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.9999,
        epsilon: float = 1e-6,
        clip_exponent: Hyperparameter | None = 0.25,
        clip_delay: int = 1,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.clip_exponent = checks.optional(checks.non_negative, "clip_exponent", clip_exponent)
        self.clip_delay = checks.count("clip_delay", clip_delay, least=0)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        is_first = ops.equal(t, 1.0)
        h = {
            "weight_1": ops.where(is_first, 0.0, 1 - self.beta_1),
            "weight_2": ops.where(is_first, 1.0, 1 - self.beta_2),
            # There is no mean square yet: with 1 for it, what is thrown away stays finite.
            "floor": ops.where(is_first, 1.0, self.epsilon),
        }
        if self.clip_exponent is None:
            return h
        return h | {"limit": ops.maximum(t - self.clip_delay, 0.0) ** self.clip_exponent}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        g = u / ops.maximum(ops.sqrt(slots["velocity"]), h["floor"])
        if self.clip_exponent is not None:
            g = ops.minimum(ops.maximum(g, -h["limit"]), h["limit"])
        m = slots["momentum"] + (g - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        return m, {"momentum": m, "velocity": v}
