"""Shampoo's direction: the gradient between inverse roots of its averaged products with itself, block by block."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from kopt._backend import adapter_module
from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt._core.numerics import eigen, one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform

Grafting = Literal["adam", "rmsprop", "sgd"]

# Far below any square of a gradient that float32 can tell from 0.
TINY = 1e-30


@register
class ScaleByShampoo(Transform):
    """Multiplies blocks of the averaged gradient by inverse roots of L and R, at the length of another method's step.

    ```
    m <- beta_1 m + (1 - beta_1) g;            m_hat = m / (1 - beta_1^t)
    per block of at most `block_size` rows and columns:
        L <- beta_2 L + (1 - beta_2) g g';     L_hat = L / (1 - beta_2^t)
        R <- beta_2 R + (1 - beta_2) g' g;     R_hat = R / (1 - beta_2^t)
        every `precondition_frequency` steps from `start_preconditioning_step` on:
            A = (L_hat + epsilon l I)^(-1/4);  B = (R_hat + epsilon r I)^(-1/4)
        d = A m_hat B
    a  = m_hat / (sqrt(v / (1 - beta_2^t)) + grafting_epsilon)    "adam", with v <- beta_2 v + (1 - beta_2) g^2
         m_hat / (sqrt(v) + grafting_epsilon)                     "rmsprop"
         m_hat                                                    "sgd"
    u  = d |a| / |d|                           without grafting: u = d
    ```

    l and r are the largest eigenvalues of L_hat and R_hat; the roots are taken by eigenvalues. Norms are those of the
    whole variable. Until there are roots, u = a (without grafting: m_hat).

    A kernel is the matrix (inputs, outputs) that its layer multiplies by, also that of a convolution: (height * width *
    in, out). A side that is longer than `block_size` is cut into the fewest blocks of equal length that fit. Vectors,
    scalars, and kernels with one input or one output are columns: A alone multiplies them, with the exponent -1/2.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the averages L, R and v, in [0, 1).
        epsilon: Share of the largest eigenvalue that is added to all of them, >= 0. In float32, smaller eigenvalues
            than 1e-7 of the largest are noise.
        block_size: Largest number of rows or columns of a block, >= 1.
        precondition_frequency: Every how many steps A and B are computed, >= 1.
        start_preconditioning_step: The step at which they are computed first, >= 1.
        grafting: `"adam"`, `"rmsprop"` or `"sgd"`: whose step lends its length; None for none.
        grafting_epsilon: Added to the root of v, >= 0.
        accumulate: Whether L and R are plain sums, as in the first paper: L <- L + g g', and L_hat = L.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Gupta et al. 2018, https://arxiv.org/abs/1802.09568; Anil et al. 2020 (blocks, grafting, rare roots),
        https://arxiv.org/abs/2002.09018; Shi et al. 2023 (averaged gradients, Adam's length),
        https://arxiv.org/abs/2309.06497.
    """

    elementwise = False
    batches = True
    schedulable = ("beta_1", "beta_2")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: float = 1e-6,
        block_size: int = 128,
        precondition_frequency: int = 10,
        start_preconditioning_step: int = 10,
        grafting: Grafting | None = "adam",
        grafting_epsilon: float = 1e-8,
        *,
        accumulate: bool = False,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.block_size = checks.count("block_size", block_size)
        self.precondition_frequency = checks.count("precondition_frequency", precondition_frequency)
        self.start_preconditioning_step = checks.count("start_preconditioning_step", start_preconditioning_step)
        self.grafting = checks.optional(checks.choice, "grafting", grafting, options=("adam", "rmsprop", "sgd"))
        self.grafting_epsilon = checks.non_negative("grafting_epsilon", grafting_epsilon)
        self.accumulate = checks.flag("accumulate", accumulate)

    def slots(self, variable: Any) -> Sequence[Slot]:
        rows, columns = _matrix(variable)
        (row_blocks, height), (column_blocks, width) = (_cut(n, self.block_size) for n in (rows, columns))
        left = (row_blocks, column_blocks, height, height)
        right = (row_blocks, column_blocks, width, width)
        sides = {"left": left} if columns == 1 else {"left": left, "right": right}
        return [
            Slot("momentum", (rows, columns)),
            *([Slot("velocity", (rows, columns))] if self.grafting in ("adam", "rmsprop") else []),
            *(Slot(f"{side}_statistics", shape) for side, shape in sides.items()),
            *(Slot(f"{side}_root", shape) for side, shape in sides.items()),
        ]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        decayed_2 = one_minus_power(self.beta_2, t)
        since = t - self.start_preconditioning_step
        is_due = ops.logical_and(since >= 0, ops.equal(since % self.precondition_frequency, 0.0))
        return {
            "weight_1": 1 - self.beta_1,
            "weight_2": 1 - self.beta_2,
            "scale_1": 1 / one_minus_power(self.beta_1, t),
            "scale_2": 1 / decayed_2 if self.grafting == "adam" else 1.0,
            "kept": 1.0 if self.accumulate else self.beta_2,
            "added": 1.0 if self.accumulate else 1 - self.beta_2,
            "scale": 1.0 if self.accumulate else 1 / decayed_2,
            "epsilon": self.epsilon,
            "grafting_epsilon": self.grafting_epsilon,
            "is_due": ops.cast(is_due, "float32"),
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        g = ops.reshape(u, ops.shape(slots["momentum"]))
        m = slots["momentum"] + (g - slots["momentum"]) * h["weight_1"]
        new: State = {"momentum": m}
        m_hat = a = m * h["scale_1"]
        if "velocity" in slots:
            v = new["velocity"] = slots["velocity"] + (ops.square(g) - slots["velocity"]) * h["weight_2"]
            a = m_hat / (ops.sqrt(v * h["scale_2"]) + h["grafting_epsilon"])
        sides = [side for side in ("left", "right") if f"{side}_root" in slots]
        blocks = _blocks(g, slots)
        for side in sides:
            name = f"{side}_statistics"
            new[name] = slots[name] * h["kept"] + _square(blocks, side) * h["added"]
        new |= adapter_module.branch(
            h["is_due"] > 0.5,
            lambda: {f"{side}_root": _root(new[f"{side}_statistics"] * h["scale"], h, len(sides)) for side in sides},
            lambda: {f"{side}_root": slots[f"{side}_root"] for side in sides},
        )
        d = ops.matmul(new["left_root"], _blocks(m_hat, slots))
        d = _joined(ops.matmul(d, new["right_root"]) if "right" in sides else d, g)
        if self.grafting is not None:
            d = d * (_norm(a) / (_norm(d) + TINY))
        has_roots = ops.any(ops.not_equal(new["left_root"], 0.0), axis=(-4, -3, -2, -1))
        return ops.reshape(ops.where(has_roots[..., None, None], d, a), ops.shape(u)), new


def _matrix(variable: Any) -> tuple[int, int]:
    """Returns the shape of a variable as a matrix: a column, unless it has several inputs and several outputs."""
    shape = matrix_shape(variable) if len(variable.shape) >= 2 else (1, 1)
    return shape if min(shape) > 1 else (math.prod(variable.shape), 1)


def _cut(length: int, largest: int) -> tuple[int, int]:
    """Returns into how many blocks a side is cut, and how long they are; the last one may be padded."""
    count = math.ceil(length / largest)
    return count, math.ceil(length / count)


def _blocks(x: Tensor, slots: State) -> Tensor:
    """Returns the matrices (..., rows, columns) as blocks (..., row blocks, column blocks, height, width)."""
    *_, row_blocks, column_blocks, height, _ = slots["left_root"].shape
    width = slots["right_root"].shape[-1] if "right_root" in slots else 1
    *stack, rows, columns = x.shape
    missing = [(0, 0)] * len(stack) + [(0, row_blocks * height - rows), (0, column_blocks * width - columns)]
    x = ops.pad(x, missing) if any(count for _, count in missing) else x
    return ops.swapaxes(ops.reshape(x, (*stack, row_blocks, height, column_blocks, width)), -3, -2)


def _joined(blocks: Tensor, like: Tensor) -> Tensor:
    """Returns what `_blocks` was given."""
    *stack, row_blocks, column_blocks, height, width = blocks.shape
    x = ops.reshape(ops.swapaxes(blocks, -3, -2), (*stack, row_blocks * height, column_blocks * width))
    return x[..., : like.shape[-2], : like.shape[-1]]


def _square(blocks: Tensor, side: str) -> Tensor:
    turned = ops.swapaxes(blocks, -2, -1)
    return ops.matmul(blocks, turned) if side == "left" else ops.matmul(turned, blocks)


def _root(statistics: Tensor, h: State, sides: int) -> Tensor:
    """Returns (L + epsilon l I)^(-1/4) between two sides, (L + epsilon l I)^(-1/2) for the only one."""
    values, vectors = eigen(statistics)
    values = ops.maximum(values, 0.0)
    values = ops.maximum(values + values[..., -1:] * h["epsilon"], TINY)
    powers = ops.rsqrt(values if sides == 1 else ops.sqrt(values))
    return ops.matmul(vectors * powers[..., None, :], ops.swapaxes(vectors, -2, -1))


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True))
