"""Schedule-free training: the average of the iterates, and a point beside it at which gradients are taken."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScheduleFree(Transform):
    """Takes each step from a point `z` of its own, averages those points, and trains between the two.

    With `s` the step that the chain in front made, learning rate and decay included:

    ```
    w = t^step_power (largest learning rate so far)^weight_power
    c = w / (sum of all w so far)
    z <- z - min(1, t / warmup_steps) s
    x <- (1 - c) x + c z                       the average: the weights to evaluate with
    y  = (1 - beta) z + beta x                 the weights to train with
    ```

    The variable holds y in training. No x is kept: x = (y - (1 - beta) z) / beta. After `fit` the variable holds x.

    It belongs behind the learning rate: at the end of a recipe with `ScaleByLearningRate`, or in `after=[...]`. What
    stands in front should have no momentum of its own.

    Args:
        beta: Share of the average in y, in (0, 1). It does what momentum does elsewhere.
        warmup_steps: Over how many steps the learning rate grows linearly, >= 0. A schedule may do the same.
        weight_power: Power of the largest learning rate in the weight of a step, >= 0.
        step_power: Power of the step number in that weight, >= 0: above 0, later steps count more.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Defazio et al. 2024, https://arxiv.org/abs/2405.15682.
    """

    acts_on = "step"
    averages = True

    def __init__(
        self, beta: float = 0.9, warmup_steps: int = 0, *, weight_power: float = 2.0, step_power: float = 0.0
    ) -> None:
        self.beta = checks.fraction("beta", beta, zero=False)
        self.warmup_steps = checks.count("warmup_steps", warmup_steps, least=0)
        self.weight_power = checks.non_negative("weight_power", weight_power)
        self.step_power = checks.non_negative("step_power", step_power)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("z", start="variable")]

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("sum_of_weights", shape=()), Slot("largest_rate", shape=())]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        warmup = ops.minimum(t / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return {
            "beta": self.beta,
            "warmup": warmup,
            "rate": learning_rate * warmup,
            "weight_power": self.weight_power,
            "step_weight": ops.power(t, self.step_power),
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        largest = ops.maximum(own["largest_rate"], h["rate"])
        w = h["step_weight"] * ops.power(largest, h["weight_power"])
        total = own["sum_of_weights"] + w
        # A schedule may start at 0: such steps have no weight.
        c = w / ops.where(total > 0, total, 1.0)
        return {"c": c}, {"sum_of_weights": total, "largest_rate": largest}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        s, y, z, c = u * h["warmup"], x, slots["z"], h["c"]
        # The recursion for y alone: with x divided out of y and multiplied in again, rounding would grow.
        return (y - z) * c + s * (1 - h["beta"] * (1 - c)), {"z": z - s}

    def to_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        y, z = x, slots["z"]
        return z + (y - z) / h["beta"], slots

    def from_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        z = slots["z"]
        return z + (x - z) * h["beta"], slots
