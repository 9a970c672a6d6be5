"""Adagrad's direction: the gradient divided by the root of the sum of all its squares."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByRss(Transform):
    """Divides the gradient by the root of the sum of its squares so far.

    ```
    v <- v + g^2
    u  = g / sqrt(initial_accumulator_value + v + epsilon)
    ```

    `epsilon` is inside the root, as in Keras and optax; torch adds it outside. The initial value is added under the
    root and not kept in the state, so that it can be tuned like any other number. Where the sum is 0, so is `u`.

    Args:
        initial_accumulator_value: What the sum starts with, >= 0.
        epsilon: Added under the root, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Duchi et al. 2011, "Adaptive subgradient methods for online learning and stochastic optimization".
    """

    schedulable = ("epsilon",)

    def __init__(self, initial_accumulator_value: float = 0.1, epsilon: Hyperparameter = 1e-7) -> None:
        self.initial_accumulator_value = checks.non_negative("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("sum_of_squares")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"offset": self.initial_accumulator_value + self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        v = slots["sum_of_squares"] + ops.square(u)
        total = v + h["offset"]
        return ops.where(total > 0, u * ops.rsqrt(total), ops.zeros_like(u)), {"sum_of_squares": v}
