"""Variance reduction by the gradient of the step before."""

from collections.abc import Sequence
from typing import Any

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class VarianceReduction(Transform):
    """Adds to the gradient a part of its change since the last step.

    ```
    u = g + gamma beta_1 / (1 - beta_1) (g - g_previous)
    ```

    In front of an average with decay rate `beta_1` this is the momentum of STORM, scaled by `gamma`, with the last
    gradient in place of the new batch's gradient at the old weights: one backward pass a step, not two. At the first
    step `g_previous` is 0.

    Args:
        gamma: Strength of the correction, >= 0; 0 leaves the gradient as it is.
        beta_1: Decay rate of the average that follows, in [0, 1).

    Raises:
        ValueError: An argument is out of its range.

    References:
        Yuan et al. 2024 (MARS), https://arxiv.org/abs/2411.10438; Cutkosky and Orabona 2019 (STORM),
        https://arxiv.org/abs/1905.10018.
    """

    schedulable = ("gamma", "beta_1")

    def __init__(self, gamma: Hyperparameter = 0.025, beta_1: Hyperparameter = 0.95) -> None:
        self.gamma = checks.non_negative("gamma", gamma)
        self.beta_1 = checks.fraction("beta_1", beta_1)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("previous_gradient")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"strength": self.gamma * self.beta_1 / (1 - self.beta_1)}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u + (u - slots["previous_gradient"]) * h["strength"], {"previous_gradient": u}
