"""Prodigy's direction, and its estimate of how far away the solution is."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.sums import total
from kopt.transforms.moments import estimator_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByProdigy(Transform):
    """Adam's direction, with a learning rate that is the estimated distance to the solution.

    ```
    step = learning_rate d                        times sqrt(1 - beta_2^t) / (1 - beta_1^t) with bias_correction
    r <- distance_beta r + (d / d0) step <g, x_0 - x>
    s <- distance_beta s + (d / d0) step g        with safeguard_warmup, d in the place of step
    m <- beta_1 m + (1 - beta_1) d g
    v <- beta_2 v + (1 - beta_2) (d g)^2
    d <- max(d, d_coef r / |s|_1)
    u  = m / (sqrt(v) + d epsilon)
    ```

    Inner product and norm are over all variables that the transform serves. It belongs in front of weight decay and
    `ScaleByLearningRate`: the rate of both is multiplied by the `d` from before the step, bias correction included.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        distance_beta: Decay rate of the sums `r` and `s`, in [0, 1); None for the root of `beta_2`.
        epsilon: Added to the root, times the estimate, >= 0.
        d0: The first estimate, > 0; too small costs a few steps, too large may diverge.
        d_coef: Factor on the estimate, > 0.
        growth_rate: Largest factor from one step's estimate to the next, >= 1; the first growth is not limited. None
            for no limit.
        safeguard_warmup: Whether to leave the learning rate out of `s`, so that a warm-up cannot inflate the estimate.
        bias_correction: Whether steps have Adam's factor sqrt(1 - beta_2^t) / (1 - beta_1^t).

    Raises:
        ValueError: An argument is out of its range.

    References:
        Mishchenko and Defazio 2023, https://arxiv.org/abs/2306.06101.
    """

    estimates = ("distance",)
    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        distance_beta: float | None = None,
        epsilon: Hyperparameter = 1e-8,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float | None = None,
        *,
        safeguard_warmup: bool = False,
        bias_correction: bool = False,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.distance_beta = checks.optional(checks.fraction, "distance_beta", distance_beta)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.d0 = checks.positive("d0", d0)
        self.d_coef = checks.positive("d_coef", d_coef)
        self.growth_rate = checks.optional(checks.at_least_one, "growth_rate", growth_rate)
        self.safeguard_warmup = checks.flag("safeguard_warmup", safeguard_warmup)
        self.bias_correction = checks.flag("bias_correction", bias_correction)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity"), Slot("gradient_sum"), Slot("start", start="variable")]

    def own_slots(self) -> Sequence[Slot]:
        limit = [] if self.growth_rate is None else [Slot("largest_estimate", (), self.d0)]
        return [Slot("distance", (), self.d0), Slot("numerator", ()), *limit]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        fade = self.beta_2**0.5 if self.distance_beta is None else self.distance_beta
        common = estimator_scalars(
            self.beta_1, self.beta_2, self.growth_rate, t, learning_rate, bias_correction=self.bias_correction
        )
        return common | {
            "fade": fade,
            "epsilon": self.epsilon,
            "d0": self.d0,
            "d_coef": self.d_coef,
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        d = own["distance"]
        step = d * h["learning_rate"] * h["correction"]
        weight = d / h["d0"] * (d if self.safeguard_warmup else step)
        product = total([g * (s["start"] - x) for g, x, s in zip(updates, params, slots, strict=True)])
        r = own["numerator"] * h["fade"] + d / h["d0"] * step * product
        sums = [_faded(s["gradient_sum"], g, h["fade"], weight) for g, s in zip(updates, slots, strict=True)]
        norm = total([ops.absolute(s) for s in sums])
        is_known = norm > 0
        estimate = ops.where(is_known, h["d_coef"] * r / ops.where(is_known, norm, 1.0), 0.0)
        new = self._grown(own, estimate, h) | {"numerator": r}
        common = {
            "distance": d,
            "gradient_weight": weight,
            "floor": new["distance"] * h["epsilon"],
            "rate_factor": d * h["correction"],
        }
        return common, new

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        g = u * h["distance"]
        m = slots["momentum"] + (g - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(g) - slots["velocity"]) * h["weight_2"]
        s = _faded(slots["gradient_sum"], u, h["fade"], h["gradient_weight"])
        new = {"momentum": m, "velocity": v, "gradient_sum": s, "start": slots["start"]}
        return m / (ops.sqrt(v) + h["floor"]), new

    def _grown(self, own: State, estimate: Tensor, h: State) -> State:
        d = own["distance"]
        larger = ops.maximum(d, estimate)
        if self.growth_rate is None:
            return {"distance": larger}
        largest = ops.maximum(own["largest_estimate"], estimate)
        base = ops.where(ops.equal(d, h["d0"]), larger, d)
        return {"distance": ops.minimum(largest, base * h["growth_rate"]), "largest_estimate": largest}


def _faded(s: Tensor, g: Tensor, fade: Tensor, weight: Tensor) -> Tensor:
    return s * ops.cast(fade, s.dtype) + g * ops.cast(weight, s.dtype)
