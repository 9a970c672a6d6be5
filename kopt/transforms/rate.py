"""The learning rate, as a part of the chain like any other."""

from typing import Any

from kopt._core.configured import register
from kopt.transforms.transform import State, Tensor, Transform


@register
class ScaleByLearningRate(Transform):
    """Multiplies the update by the learning rate of the step and of the variable's group: u <- learning_rate u."""

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"learning_rate": learning_rate}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * h["learning_rate"], slots
