"""Rprop's step: one size for each weight, which grows while the gradient keeps its sign and shrinks when it turns."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.rate import inverse_rate
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByRprop(Transform):
    """Moves each weight by a step of its own against the sign of its gradient.

    ```
    s  = sign(g) sign(g before)
    d <- clip(d eta_plus, ...)           where s > 0
    d <- clip(d eta_minus, ...)          where s < 0; there g <- 0: no move now, no comparison at the next step
    u  = d sign(g) / learning_rate
    ```

    The learning rate is the `d` of a weight's first step, and nothing else: `u` is divided by the rate that
    `ScaleByLearningRate` puts back, so that weight decay and other transforms find their place as in any chain. A rate
    of 0 holds the weights.

    Args:
        eta_minus: Factor on the step after a change of sign, in [0, 1).
        eta_plus: Factor on the step while the sign stays, >= 1.
        min_step_size: Smallest step, > 0.
        max_step_size: Largest step, >= `min_step_size`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Riedmiller and Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm".
    """

    schedulable = ("eta_minus", "eta_plus")

    def __init__(
        self,
        eta_minus: Hyperparameter = 0.5,
        eta_plus: Hyperparameter = 1.2,
        min_step_size: float = 1e-6,
        max_step_size: float = 50.0,
    ) -> None:
        self.eta_minus = checks.fraction("eta_minus", eta_minus)
        self.eta_plus = checks.at_least_one("eta_plus", eta_plus)
        self.min_step_size = checks.positive("min_step_size", min_step_size)
        self.max_step_size = checks.positive("max_step_size", max_step_size)
        if self.max_step_size < self.min_step_size:
            raise checks.fail("max_step_size", f"at least `min_step_size`, {min_step_size!r}", max_step_size)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("step_size"), Slot("previous_sign")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "start": learning_rate,
            "per_rate": inverse_rate(learning_rate),
            "eta_minus": self.eta_minus,
            "eta_plus": self.eta_plus,
            "smallest": self.min_step_size,
            "largest": self.max_step_size,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        sign = ops.sign(u)
        s = sign * slots["previous_sign"]
        # A step that was ever taken is > 0; 0 marks a weight that has not started.
        d = ops.where(slots["step_size"] > 0, slots["step_size"], h["start"])
        d = ops.where(s > 0, d * h["eta_plus"], ops.where(s < 0, d * h["eta_minus"], d))
        d = ops.minimum(ops.maximum(d, h["smallest"]), h["largest"])
        sign = ops.where(s < 0, ops.zeros_like(sign), sign)
        return d * sign * h["per_rate"], {"step_size": d, "previous_sign": sign}
