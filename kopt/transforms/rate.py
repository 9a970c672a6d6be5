"""The learning rate and constant factors, as parts of the chain like any other."""

from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import State, Tensor, Transform


@register
class ScaleByLearningRate(Transform):
    """Multiplies the update by the learning rate of the step and of the variable's group: u <- learning_rate u."""

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"learning_rate": learning_rate}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * h["learning_rate"], slots


@register
class Scale(Transform):
    """Multiplies the update by a constant: u <- factor u.

    Args:
        factor: > 0.

    Raises:
        ValueError: `factor` is not above 0.
    """

    schedulable = ("factor",)

    def __init__(self, factor: Hyperparameter) -> None:
        self.factor = checks.positive("factor", factor)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"factor": self.factor}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * h["factor"], slots


@register
class RelativeStep(Transform):
    """Makes of the learning rate behind it the lesser of itself and 1 / sqrt(t).

    ```
    u <- u / max(1, learning_rate sqrt(t))
    ```

    A weight decay that stands between the two keeps the whole learning rate.

    References:
        Shazeer and Stern 2018, section 9, https://arxiv.org/abs/1804.04235.
    """

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"factor": 1 / ops.maximum(learning_rate * ops.sqrt(t), 1.0)}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * h["factor"], slots


def inverse_rate(learning_rate: Tensor) -> Tensor:
    """Returns 1 / learning_rate, and 0 for 0: what turns a step into an update that the rate turns into the step."""
    is_moving = learning_rate > 0
    return ops.where(is_moving, 1.0 / ops.where(is_moving, learning_rate, 1.0), 0.0)
