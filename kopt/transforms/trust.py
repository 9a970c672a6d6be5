"""The size of a variable as a factor on its update: trust ratios and relative step sizes."""

from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import State, Tensor, Transform


@register
class TrustRatio(Transform):
    """Gives the update of each variable a length in proportion to the variable's own.

    ```
    u <- (u + weight_decay x) trust_coefficient |x| / (|u| + weight_decay |x| + epsilon)
    ```

    The norms are Euclidean, over all elements of the variable. Where one of them is 0 the ratio is 1, not 0, so that a
    variable that starts at 0 gets away from there (as in optax). With the default `weight_decay` of 0 the decay, if
    any, stands in front as `AddDecayedWeights` and is part of `|u|`: that is LAMB, and LARS in optax. A decay given
    here counts in the divisor by its own norm: that is LARS in its paper.

    It is a part of `LAMB` and `LARS`, and may follow any other recipe: `AdamW(after=[TrustRatio()])` is LAMB with a
    decay that the ratio neither counts nor scales.

    Args:
        trust_coefficient: Length of the update as a share of the length of the variable, > 0.
        epsilon: Added to the divisor, >= 0.
        weight_decay: >= 0. None stands for the `weight_decay` of the optimizer or of the group.
        scale_vectors: Whether variables of fewer than two dimensions (biases, the gains of norms) are scaled, too. The
            papers and optax scale every variable; many training scripts leave these out.

    Raises:
        ValueError: An argument is out of its range.

    References:
        You et al. 2017 (LARS), https://arxiv.org/abs/1708.03888; You et al. 2019 (LAMB),
        https://arxiv.org/abs/1904.00962.
    """

    elementwise = False
    schedulable = ("trust_coefficient", "epsilon", "weight_decay")

    def __init__(
        self,
        trust_coefficient: Hyperparameter = 1.0,
        epsilon: Hyperparameter = 0.0,
        weight_decay: Hyperparameter | None = 0.0,
        *,
        scale_vectors: bool = True,
    ) -> None:
        self.trust_coefficient = checks.positive("trust_coefficient", trust_coefficient)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.weight_decay = checks.optional(checks.non_negative, "weight_decay", weight_decay)
        self.scale_vectors = checks.flag("scale_vectors", scale_vectors)

    @property
    def takes_decay(self) -> bool:
        return self.weight_decay is None

    def with_weight_decay(self, weight_decay: float) -> "TrustRatio":
        return TrustRatio(**(self.arguments | {"weight_decay": weight_decay}))

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "weight_decay": 0.0 if self.weight_decay is None else self.weight_decay,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        decayed = u + x * h["weight_decay"]
        if len(x.shape) < 2 and not self.scale_vectors:
            return decayed, slots
        x_norm = ops.sqrt(ops.sum(ops.square(x)))
        u_norm = ops.sqrt(ops.sum(ops.square(u))) + x_norm * h["weight_decay"]
        one = ops.ones_like(x_norm)
        is_zero = ops.logical_or(x_norm == 0, u_norm == 0)
        length = ops.where(is_zero, one, x_norm * h["coefficient"])
        return decayed * (length / ops.where(is_zero, one, u_norm + h["epsilon"])), slots


@register
class ScaleByParameterRms(Transform):
    """Multiplies the update by the root mean square of the variable: u <- u max(epsilon, rms(x)).

    The learning rate is then a relative one: 0.01 moves the weights by about a hundredth of their size.

    Args:
        epsilon: The least factor, >= 0: without it, a variable that starts at 0 would stay there.

    Raises:
        ValueError: `epsilon` is negative or not finite.

    References:
        Shazeer and Stern 2018, section 8, https://arxiv.org/abs/1804.04235.
    """

    elementwise = False

    def __init__(self, epsilon: float = 1e-3) -> None:
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * ops.maximum(ops.sqrt(ops.mean(ops.square(x))), h["epsilon"]), slots
