"""RMSprop's direction: the gradient divided by the root of its mean square."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByRms(Transform):
    """Divides the gradient by the root of an average of its squares.

    ```
    v <- rho v + (1 - rho) g^2
    u  = g / sqrt(v + epsilon)                    plain
    u  = g / (sqrt(v) + epsilon)                  epsilon_outside
    a <- rho a + (1 - rho) g
    u  = g / sqrt(v - a^2 + epsilon)              centered
    ```

    `epsilon` is inside the root, as in Keras and optax; torch adds it outside. There is no bias correction, as in
    all three, unless it is asked for. With `epsilon_outside` and `bias_correction` this is Adam's direction for
    `beta_1=0`, without its buffer.

    Args:
        rho: Decay rate of both averages, in [0, 1).
        epsilon: Added under the root, >= 0.
        centered: Whether to subtract the squared average gradient, so that the divisor is a standard deviation.
        epsilon_outside: Whether to add `epsilon` to the root instead.
        bias_correction: Whether to divide the averages by 1 - rho^t.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for machine learning"; Graves 2013 (centered),
        https://arxiv.org/abs/1308.0850.
    """

    schedulable = ("rho", "epsilon")

    def __init__(
        self,
        rho: Hyperparameter = 0.9,
        epsilon: Hyperparameter = 1e-7,
        *,
        centered: bool = False,
        epsilon_outside: bool = False,
        bias_correction: bool = False,
    ) -> None:
        self.rho = checks.fraction("rho", rho)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.centered = checks.flag("centered", centered)
        self.epsilon_outside = checks.flag("epsilon_outside", epsilon_outside)
        self.bias_correction = checks.flag("bias_correction", bias_correction)

    def slots(self, variable: Any) -> Sequence[Slot]:
        names = ["velocity", *(["average_gradient"] if self.centered else [])]
        return [Slot(name) for name in names]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        h: dict[str, Any] = {"weight": 1 - self.rho, "epsilon": self.epsilon}
        return h | ({"correction": one_minus_power(self.rho, t)} if self.bias_correction else {})

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        v = slots["velocity"] + (ops.square(u) - slots["velocity"]) * h["weight"]
        new: State = {"velocity": v}
        if self.bias_correction:
            v = v / h["correction"]
        if self.centered:
            a = new["average_gradient"] = slots["average_gradient"] + (u - slots["average_gradient"]) * h["weight"]
            if self.bias_correction:
                a = a / h["correction"]
            # Exact arithmetic keeps v >= a^2; rounding does not, and a root of a negative number would be NaN.
            v = ops.maximum(v - ops.square(a), 0.0)
        if self.epsilon_outside:
            return u / (ops.sqrt(v) + h["epsilon"]), new
        return u * ops.rsqrt(v + h["epsilon"]), new
