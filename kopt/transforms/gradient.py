"""Small changes of the gradient: centralized, repaired, smoothed over time, clipped by the size of the weights."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class CentralizeGradients(Transform):
    """Subtracts from each output's gradient its mean over the inputs, for variables of two or more dimensions.

    The last axis of a Keras kernel is the output, so the mean is taken over all axes but the last. (Written for kernels
    as (out, in), optax' `centralize` takes it over all but the first.)

    References:
        Yong et al. 2020, https://arxiv.org/abs/2004.01461.
    """

    elementwise = False

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        if len(u.shape) < 2:
            return u, slots
        return u - ops.mean(u, axis=tuple(range(len(u.shape) - 1)), keepdims=True), slots


@register
class ZeroNonFinite(Transform):
    """Puts 0 in place of each element that is NaN or infinite; the others stay.

    A gradient that is not finite usually says that a whole step is wrong: `SkipNonFinite` leaves such a step out.
    """

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return ops.where(ops.isfinite(u), u, ops.zeros_like(u)), slots


@register
class Grokfast(Transform):
    """Adds to the gradient `amplification` times its slow part, a moving average: meant to shorten grokking.

    ```
    e <- momentum e + (1 - momentum) g              e = g at the first step
    u  = g + amplification e
    ```

    Args:
        momentum: Decay rate of the average, in [0, 1).
        amplification: >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Lee et al. 2024, https://arxiv.org/abs/2405.20233.
    """

    schedulable = ("momentum", "amplification")

    def __init__(self, momentum: Hyperparameter = 0.98, amplification: Hyperparameter = 2.0) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.amplification = checks.non_negative("amplification", amplification)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("slow_gradient")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight": ops.where(t == 1, 1.0, 1 - self.momentum), "amplification": self.amplification}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        e = slots["slow_gradient"] + (u - slots["slow_gradient"]) * h["weight"]
        return u + h["amplification"] * e, {"slow_gradient": e}


@register
class AdaptiveGradientClipping(Transform):
    """Shortens the gradient of each output unit that is long beside the unit's weights.

    ```
    u = g min(1, clip_factor max(|x|, epsilon) / |g|)              norms per output unit
    ```

    A unit is one entry of the last axis of a kernel; the norms are over all other axes. A vector or scalar is one unit.

    Args:
        clip_factor: Largest ratio of the two norms, > 0.
        epsilon: Least norm of weights that counts, >= 0, so that units at 0 can move.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Brock et al. 2021, https://arxiv.org/abs/2102.06171.
    """

    elementwise = False
    clips = True
    schedulable = ("clip_factor",)

    def __init__(self, clip_factor: Hyperparameter = 0.01, epsilon: float = 1e-3) -> None:
        self.clip_factor = checks.positive("clip_factor", clip_factor)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"clip_factor": self.clip_factor, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        longest = h["clip_factor"] * ops.maximum(_unit_norms(x), h["epsilon"])
        return u * ops.minimum(longest / ops.maximum(_unit_norms(u), 1e-6), 1.0), slots


def _unit_norms(x: Tensor) -> Tensor:
    axes = tuple(range(len(x.shape) - 1)) if len(x.shape) > 1 else None
    return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=True))
