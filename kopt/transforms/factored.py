"""Second moments of matrices in two vectors: one mean square per input and one per output of the layer."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt.transforms.transform import Slot, State, Tensor, Transform

# Smallest normal number of float32: below it, hardware may take a number for 0, and its root for a divisor of 0.
FLOOR = 1.2e-38


def factored_slots(variable: Any, name: str) -> list[Slot]:
    """Returns the slots of a mean square: two vectors for a matrix, one tensor for a vector or a number."""
    if len(variable.shape) < 2:
        return [Slot(name)]
    inputs, outputs = matrix_shape(variable)
    return [Slot(f"input_{name}", (inputs,)), Slot(f"output_{name}", (outputs,))]


def averaged(square: Tensor, slots: State, name: str, weight: Tensor) -> State:
    """Returns the slots of `factored_slots`, moved by `weight` of the way to a new square."""
    if name in slots:
        return {name: slots[name] + (square - slots[name]) * weight}
    r, c = slots[f"input_{name}"], slots[f"output_{name}"]
    matrix = ops.reshape(square, (r.shape[0], c.shape[0]))
    return {
        f"input_{name}": r + (ops.mean(matrix, axis=1) - r) * weight,
        f"output_{name}": c + (ops.mean(matrix, axis=0) - c) * weight,
    }


def over_root(u: Tensor, slots: State, name: str) -> Tensor:
    """Returns `u` divided by the root of the mean square: of a matrix, r c / mean(r).

    The roots of `r`, its mean and `c` are taken one by one: their quotient or product may leave float32's range.
    """
    if name in slots:
        return u * ops.rsqrt(ops.maximum(slots[name], FLOOR))
    r, c = (ops.maximum(slots[f"{side}_{name}"], FLOOR) for side in ("input", "output"))
    rows = ops.rsqrt(r) * ops.sqrt(ops.mean(r))
    matrix = ops.reshape(u, (r.shape[0], c.shape[0]))
    return ops.reshape(matrix * ops.expand_dims(rows, 1) * ops.rsqrt(c), u.shape)


@register
class ScaleByFactoredRms(Transform):
    """Divides the gradient by the root of its mean square, of which it keeps the row and column means only.

    ```
    r <- beta_2 r + (1 - beta_2) row_mean(g^2 + epsilon)
    c <- beta_2 c + (1 - beta_2) column_mean(g^2 + epsilon)
    u  = g / sqrt(r c / mean(r))                                     matrices
    v <- beta_2 v + (1 - beta_2) (g^2 + epsilon);  u = g / sqrt(v)   variables of fewer than two dimensions
    ```

    Kernels are taken for the matrix (inputs, outputs) that their layer multiplies by: a convolution's kernel is one
    matrix of height * width * inputs rows. Keras and torch take the last two axes instead and keep a pair of vectors
    for each position along the others, optax the two largest axes; all agree on kernels of two dimensions.

    Args:
        beta_2: Decay rate of the averages, in [0, 1).
        epsilon: Added to the squares, >= 0.
        beta_2_decay: If it is given, < 0, the decay rate at step t is 1 - t^beta_2_decay instead of `beta_2`: the first
            step averages one square, later ones ever more.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
    """

    elementwise = False
    schedulable = ("epsilon",)

    def __init__(
        self, beta_2: float = 0.999, epsilon: Hyperparameter = 1e-30, beta_2_decay: float | None = None
    ) -> None:
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.beta_2_decay = checks.optional(checks.negative, "beta_2_decay", beta_2_decay)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return factored_slots(variable, "velocity")

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        weight = 1 - self.beta_2 if self.beta_2_decay is None else ops.power(t, self.beta_2_decay)
        return {"weight": weight, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        new = averaged(ops.square(u) + h["epsilon"], slots, "velocity", h["weight"])
        return over_root(u, new, "velocity"), new


@register
class ScaleByConfidence(Transform):
    """Averages the updates, and trusts the average less where the updates keep leaving it.

    ```
    m <- beta_1 m + (1 - beta_1) u
    s <- beta_3 s + (1 - beta_3) ((u - m)^2 + epsilon)
    u  = m / sqrt(s)       matrices, s kept in row and column means
    u  = m                 variables of fewer than two dimensions
    ```

    Matrices are read as in `ScaleByFactoredRms`. Neither average is corrected for its start at 0.

    Args:
        beta_1: Decay rate of the average of updates, in [0, 1).
        beta_3: Decay rate of the average of squared distances from it, in [0, 1).
        epsilon: Added to the squares, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Luo et al. 2023, https://arxiv.org/abs/2307.02047.
    """

    elementwise = False
    schedulable = ("beta_1", "beta_3", "epsilon")

    def __init__(
        self, beta_1: Hyperparameter = 0.9, beta_3: Hyperparameter = 0.9999, epsilon: Hyperparameter = 1e-16
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_3 = checks.fraction("beta_3", beta_3)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        instability = factored_slots(variable, "instability") if len(variable.shape) > 1 else []
        return [Slot("momentum"), *instability]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight_1": 1 - self.beta_1, "weight_3": 1 - self.beta_3, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] + (u - slots["momentum"]) * h["weight_1"]
        if len(x.shape) < 2:
            return m, {"momentum": m}
        s = averaged(ops.square(u - m) + h["epsilon"], slots, "instability", h["weight_3"])
        return over_root(m, s, "instability"), {"momentum": m, **s}
