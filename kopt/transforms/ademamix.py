"""AdEMAMix's direction: Adam's, with a second, much slower average of the gradients beside the first."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import logarithm
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByAdemamix(Transform):
    """Divides a mixture of a fast and a slow average of the gradients by the root of an average of their squares.

    ```
    m <- beta_1 m + (1 - beta_1) g
    s <- beta_3 s + (1 - beta_3) g
    v <- beta_2 v + (1 - beta_2) g^2
    u  = (m / (1 - beta_1^t) + slow_weight s) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    ```

    The slow average is not corrected for its start at 0: it fills up over the run. During a warm-up of T steps,
    `slow_weight` grows from 0 in proportion to t, and beta_3 from beta_1 so that its half-life grows in proportion,
    as in the paper.

    Args:
        beta_1: Decay rate of the fast average, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        beta_3: Decay rate of the slow average, in [0, 1).
        slow_weight: Weight of the slow average, >= 0; alpha in the paper.
        epsilon: Added to the root, behind the bias correction, >= 0.
        warmup_steps: T; 0 for none.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """

    schedulable = ("beta_1", "beta_2", "beta_3", "slow_weight", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        beta_3: Hyperparameter = 0.9999,
        slow_weight: Hyperparameter = 5.0,
        epsilon: Hyperparameter = 1e-8,
        warmup_steps: int = 0,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.beta_3 = checks.fraction("beta_3", beta_3)
        self.slow_weight = checks.non_negative("slow_weight", slow_weight)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.warmup_steps = checks.count("warmup_steps", warmup_steps, least=0)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("slow_momentum"), Slot("velocity")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        h = moment_scalars(self.beta_1, self.beta_2, self.epsilon, t)
        if not self.warmup_steps:
            return h | {"weight_3": 1 - self.beta_3, "slow_scale": h["root"] * self.slow_weight}
        share = ops.minimum(t / self.warmup_steps, 1.0)
        return h | {"weight_3": self._slow_share(share), "slow_scale": h["root"] * share * self.slow_weight}

    def _slow_share(self, share: Tensor) -> Tensor:
        """Returns 1 - beta_3 after a share of the warm-up: 1 / log(beta), the half-life, goes straight to its end."""
        start, end = _inverse_logarithm(self.beta_1), _inverse_logarithm(self.beta_3)
        return ops.maximum(-ops.expm1(1 / (start + share * (end - start))), 1 - self.beta_3)

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        s = slots["slow_momentum"] + (u - slots["slow_momentum"]) * h["weight_3"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        u = (m * h["scale"] + s * h["slow_scale"]) / (ops.sqrt(v) + h["epsilon"])
        return u, {"momentum": m, "slow_momentum": s, "velocity": v}


def _inverse_logarithm(beta: float | Tensor) -> float | Tensor:
    return 1 / logarithm(beta)  # which is 0 for 0
