"""SOAP's direction: Adam in the eigenvectors of averaged products of the gradient with itself."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._backend import adapter_module
from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt._core.numerics import eigen, leaning, one_minus_power, orthonormal
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleBySoap(Transform):
    """Runs Adam on the gradient as it looks in the eigenvectors of L and R, which turn slowly.

    ```
    G  = Q_L' g Q_R
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) G^2
    u  = Q_L ((Q_L' m Q_R) / (sqrt(v) + epsilon)) Q_R' sqrt(1 - beta_2^(t - 1)) / (1 - beta_1^(t - 1))
    L <- beta_2 L + (1 - beta_2) g g'
    R <- beta_2 R + (1 - beta_2) g' g
    every `precondition_frequency` steps, Q standing for Q_L with L and for Q_R with R:
        sort the columns q of Q by falling q' L q, and v along with them;  Q <- QR(L Q)
    ```

    At the first step, L, R, Q_L and Q_R are made from the gradient and nothing moves, so that no gradient is turned by
    itself. A kernel is the matrix (inputs, outputs) that its layer multiplies by, also that of a convolution:
    (height * width * in, out). Vectors, scalars, and kernels with one input or one output have no Q, and take Adam's
    step from the second gradient on.

    The first Q_L and Q_R are the singular vectors of the first gradient. A gradient of the shape (6, 4) has only 4 on
    the left: the other 2 columns of Q_L are sine waves, made orthogonal to the 4. Eigenvectors of g g' would be
    arbitrary there, and the steps would depend on the library that computes them. Which sign the columns have does not
    matter to any step, nor in which order they stand.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the averages v, L and R, in [0, 1).
        epsilon: Added to the root of v, before bias correction, >= 0.
        precondition_frequency: Every how many steps Q_L and Q_R follow L and R, >= 1.
        max_precondition_dimension: A side of the matrix that is longer has no Q, which stands for the identity.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Vyas et al. 2024, https://arxiv.org/abs/2409.11321.
    """

    elementwise = False
    batches = True
    schedulable = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.95,
        beta_2: Hyperparameter = 0.95,
        epsilon: Hyperparameter = 1e-8,
        precondition_frequency: int = 10,
        max_precondition_dimension: int = 4096,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.precondition_frequency = checks.count("precondition_frequency", precondition_frequency)
        self.max_precondition_dimension = checks.count("max_precondition_dimension", max_precondition_dimension)

    def slots(self, variable: Any) -> Sequence[Slot]:
        shape = matrix_shape(variable) if len(variable.shape) >= 2 else (1, 1)
        sides = dict(zip(("left", "right"), shape, strict=True)) if min(shape) > 1 else {}
        squares = {side: (n, n) for side, n in sides.items() if n <= self.max_precondition_dimension}
        average = shape if squares else None
        return [
            Slot("momentum", average),
            Slot("velocity", average),
            *(Slot(f"{side}_statistics", square) for side, square in squares.items()),
            *(Slot(f"{side}_basis", square) for side, square in squares.items()),
        ]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        counted = ops.maximum(t - 1.0, 1.0)
        return {
            "weight_1": 1 - self.beta_1,
            "weight_2": 1 - self.beta_2,
            "epsilon": self.epsilon,
            "scale": ops.sqrt(one_minus_power(self.beta_2, counted)) / one_minus_power(self.beta_1, counted),
            "has_begun": ops.cast(t > 1, "float32"),
            "is_due": ops.cast(ops.equal((t - 1.0) % self.precondition_frequency, 0.0), "float32"),
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        g = ops.reshape(u, ops.shape(slots["momentum"]))
        bases = {side: slots[f"{side}_basis"] for side in ("left", "right") if f"{side}_basis" in slots}
        has_basis = [ops.any(ops.not_equal(q, 0.0), axis=(-2, -1), keepdims=True) for q in bases.values()]
        moves = has_basis[0] if has_basis else h["has_begun"] > 0.5
        begun = ops.cast(moves, g.dtype)
        m = slots["momentum"] + (g - slots["momentum"]) * (begun * h["weight_1"])
        v = slots["velocity"] + (ops.square(_turned(g, bases)) - slots["velocity"]) * (begun * h["weight_2"])
        direction = _turned_back(_turned(m, bases) / (ops.sqrt(v) + h["epsilon"]), bases) * h["scale"]
        direction = ops.reshape(ops.where(moves, direction, ops.zeros_like(direction)), ops.shape(u))
        new: State = {"momentum": m, "velocity": v}
        if not bases:
            return direction, new
        statistics = {}
        for side in bases:
            old = slots[f"{side}_statistics"]
            statistics[side] = new[f"{side}_statistics"] = old + (_square(g, side) - old) * h["weight_2"]
        turned = adapter_module.branch(
            ops.logical_and(h["is_due"] > 0.5, ops.any(moves)),
            lambda: _iterated(bases, v, statistics),
            lambda: {"velocity": v, **{f"{side}_basis": q for side, q in bases.items()}},
        )
        return direction, new | adapter_module.branch(
            ops.all(moves),
            lambda: turned,
            lambda: turned | {name: ops.where(moves, turned[name], q) for name, q in _first_bases(g, bases).items()},
        )


def _turned(x: Tensor, bases: State) -> Tensor:
    """Returns Q_L' x Q_R."""
    x = ops.matmul(_transposed(bases["left"]), x) if "left" in bases else x
    return ops.matmul(x, bases["right"]) if "right" in bases else x


def _turned_back(x: Tensor, bases: State) -> Tensor:
    """Returns Q_L x Q_R'."""
    x = ops.matmul(bases["left"], x) if "left" in bases else x
    return ops.matmul(x, _transposed(bases["right"])) if "right" in bases else x


def _square(g: Tensor, side: str) -> Tensor:
    return ops.matmul(g, _transposed(g)) if side == "left" else ops.matmul(_transposed(g), g)


def _transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -2, -1)


def _iterated(bases: State, v: Tensor, statistics: State) -> State:
    """Returns the bases after one step of power iteration, and v in the new order of their columns."""
    new: State = {"velocity": v}
    for side, q in bases.items():
        product = ops.matmul(statistics[side], q)
        order = ops.argsort(-ops.sum(q * product, axis=-2), axis=-1)
        new[f"{side}_basis"] = orthonormal(ops.take_along_axis(product, order[..., None, :], axis=-1))
        along = order[..., :, None] if side == "left" else order[..., None, :]
        new["velocity"] = ops.take_along_axis(new["velocity"], along, axis=-2 if side == "left" else -1)
    return new


def _first_bases(g: Tensor, sides: State) -> State:
    """Returns the singular vectors of g, those of the longer side completed to a basis."""
    if g.shape[-2] < g.shape[-1]:
        swapped = _first_bases(_transposed(g), {_OTHER[side]: q for side, q in sides.items()})
        return {f"{_OTHER[side]}_basis": swapped[f"{side}_basis"] for side in _OTHER if f"{side}_basis" in swapped}
    # Of the two products of g with itself, only this one has no eigenvalues that must be 0.
    _, right = eigen(_square(g, "right"))
    right = ops.flip(right, axis=-1)
    right = right * leaning(ops.sum(right, axis=-2, keepdims=True))
    bases = {"right_basis": right}
    if "left" in sides:
        waves = _sines(g.shape[-2], g.shape[-2] - g.shape[-1], g.dtype)
        waves = ops.broadcast_to(waves, (*g.shape[:-1], waves.shape[-1]))
        bases["left_basis"] = orthonormal(ops.concatenate([ops.matmul(g, right), waves], axis=-1))
    return bases


_OTHER = {"left": "right", "right": "left"}


def _sines(size: int, count: int, dtype: Any) -> Tensor:
    """Returns the first columns of the discrete sine transform, which are orthogonal, exact to rounding."""
    numbers = ops.arange(1, size + 1, dtype="int32")[:, None] * ops.arange(1, count + 1, dtype="int32")[None, :]
    # Whole turns are taken off in integers: float32 would lose the angle among them.
    return ops.sin(ops.cast(numbers % (2 * (size + 1)), dtype) * (math.pi / (size + 1)))
