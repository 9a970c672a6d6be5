"""Nadam's direction: Adam's, with the average of the gradients as it will be one step ahead."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByNadam(Transform):
    """Adam's direction with Nesterov's momentum.

    ```
    m   <- beta_1 m + (1 - beta_1) g
    v   <- beta_2 v + (1 - beta_2) g^2
    n    = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
    u    = n / (sqrt(v / (1 - beta_2^t)) + epsilon)
    mu_t = beta_1                                              momentum_decay=None
    mu_t = beta_1 (1 - 0.96^(momentum_decay t) / 2)            otherwise
    ```

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, behind the bias correction, >= 0.
        momentum_decay: How fast `mu` grows from `beta_1 / 2` to `beta_1`, >= 0: 0.004 in the paper and in torch, 1 in
            Keras. None for a constant `mu`, as in optax.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Dozat 2016, "Incorporating Nesterov momentum into Adam", https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """

    schedulable = ("beta_1", "beta_2", "epsilon", "momentum_decay")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        momentum_decay: Hyperparameter | None = None,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.momentum_decay = checks.optional(checks.non_negative, "momentum_decay", momentum_decay)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity")]

    def own_slots(self) -> Sequence[Slot]:
        return [] if self.momentum_decay is None else [Slot("momentum_product", shape=(), start=1.0)]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        h = moment_scalars(self.beta_1, self.beta_2, self.epsilon, t)
        if self.momentum_decay is not None:
            return h | {"mu": self._mu(t), "next_mu": self._mu(t + 1)}
        ahead = h["root"] * self.beta_1 / one_minus_power(self.beta_1, t + 1)
        return h | {"momentum_scale": ahead, "gradient_scale": h["scale"] * h["weight_1"]}

    def _mu(self, t: Tensor) -> Tensor:
        return self.beta_1 * (1 - 0.5 * ops.exp(t * (self.momentum_decay * math.log(0.96))))

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        if self.momentum_decay is None:
            return {}, own
        product = own["momentum_product"] * h["mu"]
        ahead = h["root"] * h["next_mu"] / (1 - product * h["next_mu"])
        now = h["root"] * (1 - h["mu"]) / (1 - product)
        return {"momentum_scale": ahead, "gradient_scale": now}, {"momentum_product": product}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        n = m * h["momentum_scale"] + u * h["gradient_scale"]
        return n / (ops.sqrt(v) + h["epsilon"]), {"momentum": m, "velocity": v}
