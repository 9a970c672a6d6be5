"""Adam's direction with D-Adaptation's estimate of how far away the solution is."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.sums import total
from kopt.transforms.moments import estimator_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByDadaptAdam(Transform):
    """Adam's direction, with a learning rate that is the estimated distance to the solution.

    With c = sqrt(beta_2), and p = d, times sqrt(1 - beta_2^t) / (1 - beta_1^t) with bias_correction:

    ```
    r <- c r + (1 - c) learning_rate p <g, s / (sqrt(v) + epsilon)>
    s <- c s + (1 - c) learning_rate p g
    m <- beta_1 m + (1 - beta_1) p g
    v <- beta_2 v + (1 - beta_2) g^2
    d <- max(d, min(r / ((1 - c) |s|_1), growth_rate d))
    u  = m / (sqrt(v) + epsilon) / p
    ```

    Inner product and norm are over all variables that the transform serves. It belongs in front of weight decay and
    `ScaleByLearningRate`: the rate of both is multiplied by p, so that p in `u` cancels.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        d0: The first estimate, > 0; too small costs a few steps, too large may diverge.
        growth_rate: Largest factor from one step's estimate to the next, >= 1; None for no limit.
        bias_correction: Whether steps have Adam's factor sqrt(1 - beta_2^t) / (1 - beta_1^t).

    Raises:
        ValueError: An argument is out of its range.

    References:
        Defazio and Mishchenko 2023, algorithm 5, https://arxiv.org/abs/2301.07733.
    """

    estimates = ("distance",)
    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        d0: float = 1e-6,
        growth_rate: float | None = None,
        *,
        bias_correction: bool = False,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.d0 = checks.positive("d0", d0)
        self.growth_rate = checks.optional(checks.at_least_one, "growth_rate", growth_rate)
        self.bias_correction = checks.flag("bias_correction", bias_correction)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity"), Slot("gradient_sum")]

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("distance", (), self.d0), Slot("numerator", ())]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        fade = self.beta_2**0.5
        common = estimator_scalars(
            self.beta_1, self.beta_2, self.growth_rate, t, learning_rate, bias_correction=self.bias_correction
        )
        return common | {
            "weight_3": 1 - fade,
            "epsilon": self.epsilon,
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        d = own["distance"]
        p = d * h["correction"]
        step = h["learning_rate"] * p
        pairs = list(zip(updates, slots, strict=True))
        product = total([g * s["gradient_sum"] / _divisor(s["velocity"], h["epsilon"]) for g, s in pairs])
        r = own["numerator"] + (step * product - own["numerator"]) * h["weight_3"]
        sums = [_mixed(s["gradient_sum"], g, step, h["weight_3"]) for g, s in pairs]
        norm = h["weight_3"] * total([ops.absolute(s) for s in sums])
        is_known = norm > 0
        estimate = ops.where(is_known, r / ops.where(is_known, norm, 1.0), 0.0)
        if self.growth_rate is not None:
            estimate = ops.minimum(estimate, d * h["growth_rate"])
        new = {"distance": ops.maximum(d, estimate), "numerator": r}
        return {"factor": p, "step": step, "rate_factor": p}, new

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = _mixed(slots["momentum"], u, h["factor"], h["weight_1"])
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        s = _mixed(slots["gradient_sum"], u, h["step"], h["weight_3"])
        return m / ((ops.sqrt(v) + h["epsilon"]) * h["factor"]), {"momentum": m, "velocity": v, "gradient_sum": s}


def _divisor(v: Tensor, epsilon: Tensor) -> Tensor:
    # Before the first gradient v is 0, and s as well: with epsilon = 0 that would be 0 / 0.
    return ops.maximum(ops.sqrt(v) + ops.cast(epsilon, v.dtype), 1e-30)


def _mixed(average: Tensor, g: Tensor, factor: Tensor, weight: Tensor) -> Tensor:
    return average + (g * ops.cast(factor, g.dtype) - average) * ops.cast(weight, g.dtype)
