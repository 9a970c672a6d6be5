"""A learning rate tuner around whatever stands in front of it."""

from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.sums import total, total_of_squares
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class Mechanic(Transform):
    """Finds the scale of the whole step: the weights are the first ones less the sum of all steps, times the scale.

    ```
    s = sum of s_i                                                    i = 1 ... num_betas, beta_i = 1 - 0.1^i
    h = <S, g + weight_decay s |g| / (|x| + epsilon) x>
    r_i <- beta_i r_i + min(max(h, -m_i), m_i) s_i                    with the m_i from before
    m_i <- max(beta_i m_i, |h| + epsilon)
    v_i <- beta_i^2 v_i + h^2
    s_i <- (s_init / num_betas m_i + max(r_i, 0)) / (sqrt(v_i) + epsilon)
    S   <- S + u
    x   <- x_0 - s S
    ```

    Inner product and norms are over all variables that the transform serves; g is the gradient, clipped if there are
    clipping keywords. It belongs at the end of a chain (`after=[...]` puts it there), where u is the step, learning
    rate and weight decay included: give the optimizer a rate of 1, or a schedule that reaches 1. What moves the weights
    behind it moves them away from x_0 - s S, and the next step moves them back: `Freeze` and `Unfreeze` stand in front,
    `ExponentialMovingAverage` and `StochasticWeightAveraging`, which only watch, behind; `Lookahead` fits nowhere.

    The clipping of h is the authors' later addition. S is kept, as the paper writes it; the authors' code and optax
    compute it from the weights as (x_0 - x) / (s + epsilon), which costs no memory, loses a part epsilon / s of it at
    each step, and has few correct digits while s is small.

    Memory: 8 bytes per parameter beside those of what stands in front.

    Args:
        s_init: The first scale, > 0; too small costs a few steps.
        weight_decay: Pulls the scale, not the weights, down where gradient and weights point the same way, >= 0.
        num_betas: How many tuners are added up, each with a longer memory than the one before, an integer >= 1.
        epsilon: Where the formulas show it, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Cutkosky et al. 2023, https://arxiv.org/abs/2306.00144.
    """

    elementwise = False
    acts_on: Literal["direction", "step"] = "step"
    sees_gradient = True
    estimates = ("scale",)
    schedulable = ("weight_decay",)

    def __init__(
        self, s_init: float = 1e-6, weight_decay: Hyperparameter = 1e-2, num_betas: int = 6, epsilon: float = 1e-8
    ) -> None:
        self.s_init = checks.positive("s_init", s_init)
        self.weight_decay = checks.non_negative("weight_decay", weight_decay)
        self.num_betas = checks.count("num_betas", num_betas)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("start", start="variable"), Slot("sum_of_steps")]

    def own_slots(self) -> Sequence[Slot]:
        tuners = (self.num_betas,)
        return [
            Slot("scale", (), self.s_init),
            Slot("scales", tuners, self.s_init / self.num_betas),
            Slot("reward", tuners),
            Slot("largest", tuners),
            Slot("squares", tuners),
        ]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "weight_decay": self.weight_decay,
            "epsilon": self.epsilon,
            "first_scale": self.s_init / self.num_betas,
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        product = self._product(params, slots, own["scale"], h)
        beta = ops.convert_to_tensor([1 - 0.1**i for i in range(1, self.num_betas + 1)], "float32")
        m = own["largest"]
        r = beta * own["reward"] + ops.maximum(ops.minimum(product, m), -m) * own["scales"]
        m = ops.maximum(beta * m, ops.absolute(product) + h["epsilon"])
        v = ops.square(beta) * own["squares"] + ops.square(product)
        wealth = h["first_scale"] * m + ops.maximum(r, 0.0)
        # Without epsilon, tuners that have seen nothing stay at their first scale.
        below = ops.sqrt(v) + h["epsilon"]
        scales = ops.where(below > 0, wealth / ops.where(below > 0, below, 1.0), h["first_scale"])
        scale = ops.sum(scales)
        new = {"scale": scale, "scales": scales, "reward": r, "largest": m, "squares": v}
        return {"scale": scale}, new

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        steps = slots["sum_of_steps"] + u
        return x - slots["start"] + h["scale"] * steps, slots | {"sum_of_steps": steps}

    def _product(self, params: Sequence[Tensor], slots: Sequence[State], scale: Tensor, h: State) -> Tensor:
        """Returns the inner product of the sum of steps and the gradient, which the tuner's decay is a part of."""
        gradients, sums = [s["gradient"] for s in slots], [s["sum_of_steps"] for s in slots]
        along_gradient = total([s * g for s, g in zip(sums, gradients, strict=True)])
        along_weights = total([s * x for s, x in zip(sums, params, strict=True)])
        length = ops.sqrt(total_of_squares(params)) + h["epsilon"]
        decay = h["weight_decay"] * scale * ops.sqrt(total_of_squares(gradients))
        return along_gradient + ops.where(length > 0, decay / ops.where(length > 0, length, 1.0), 0.0) * along_weights
