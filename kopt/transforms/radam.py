"""RAdam's direction: Adam's, held back while too few gradients have been seen to know their mean square."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import logarithm
from kopt.transforms.moments import moment_scalars
from kopt.transforms.transform import Slot, State, Tensor, Transform

TRUSTED = 5.0
"""The length of an average of squares from which its root is used as a divisor."""


@register
class ScaleByRadam(Transform):
    """Adam's direction times a factor that makes up for the variance of its divisor; at first, no divisor at all.

    ```
    m      <- beta_1 m + (1 - beta_1) g
    v      <- beta_2 v + (1 - beta_2) g^2
    rho_inf = 2 / (1 - beta_2) - 1
    rho     = rho_inf - 2 t beta_2^t / (1 - beta_2^t)
    r       = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
    u       = r (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)     rho >= 5
    u       = m / (1 - beta_1^t)                                                 else
    ```

    The bound on rho is that of the authors' code, optax and torch; the paper has 4. Where rho_inf <= 5, which is
    beta_2 <= 2/3, there is never a divisor.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, behind the bias correction as in optax, >= 0; torch adds it before.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Liu et al. 2019, https://arxiv.org/abs/1908.03265.
    """

    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self, beta_1: Hyperparameter = 0.9, beta_2: Hyperparameter = 0.999, epsilon: Hyperparameter = 1e-8
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum"), Slot("velocity")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        h = moment_scalars(self.beta_1, self.beta_2, self.epsilon, t)
        plain, limit = h["scale"] / h["root"], 2 / (1 - self.beta_2) - 1
        rho = average_length(self.beta_2, t)
        is_adaptive = ops.logical_and(rho >= TRUSTED, limit > TRUSTED)
        safe, limit = ops.maximum(rho, 4.0), ops.maximum(limit, TRUSTED)
        r = ops.sqrt((safe - 4) * (safe - 2) / safe * (limit / ((limit - 4) * (limit - 2))))
        scale = ops.where(is_adaptive, r * h["scale"], plain)
        return h | {"scale": scale, "is_adaptive": ops.cast(is_adaptive, "float32")}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight_2"]
        divisor = ops.where(h["is_adaptive"] > 0, ops.sqrt(v) + h["epsilon"], 1.0)
        return m * h["scale"] / divisor, {"momentum": m, "velocity": v}


def average_length(beta: float | Tensor, t: Tensor) -> Tensor:
    """Returns 2 / (1 - beta) - 1 - 2 t beta^t / (1 - beta^t), exact to float32 rounding also for beta close to 1.

    The obvious form loses digits while t is far below 1 / (1 - beta): at beta = 0.999 and t = 6 it is 1999 - 1993.
    With L = -log(beta) and k(z) = (z / 2) coth(z / 2) - 1, it is t - 2 (k(t L) - k(L)) / L; there k comes from its
    series, which converges fast for z < 1.

    Args:
        beta: Decay rate in [0, 1), a Python float or a float32 scalar tensor.
        t: Step, a float32 scalar tensor that is >= 1.
    """
    rate = -logarithm(beta)
    early = t - 2 * (_bend(ops.minimum(t * rate, 1.0)) - _bend(ops.minimum(rate, 1.0))) / rate
    late = 2 / (1 - beta) - 1 - 2 * t / ops.expm1(t * rate)
    return ops.where(t * rate < 1, early, late)


def _bend(z: Any) -> Any:
    """Returns (z / 2) coth(z / 2) - 1 for z in [0, 1], by the series of z / (e^z - 1) in Bernoulli's numbers."""
    square = z * z
    return square / 12 * (1 - square / 60 * (1 - square / 42 * (1 - square / 40 * (1 - square * 5 / 198))))
