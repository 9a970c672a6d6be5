"""Momentum with its singular values made equal: the part that Muon and Scion share."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt.transforms.transform import Slot, State, Tensor, Transform

JORDAN = (3.4445, -4.7750, 2.0315)

SIZES = {
    "rms": lambda inputs, outputs: 0.2 * math.sqrt(max(inputs, outputs)),
    "spectral": lambda inputs, outputs: math.sqrt(max(1.0, outputs / inputs)),
    "operator": lambda inputs, outputs: math.sqrt(outputs / inputs),
}


@register
class OrthogonalizedMomentum(Transform):
    """Averages gradients, and turns the average U S V^T of a kernel into about U V^T, times its `size`.

    ```
    m <- momentum m + (1 - momentum) g
    u  = m                                    plain
    u  = momentum m + (1 - momentum) g        Nesterov
    u <- u / (|u|_F + epsilon)
    u <- a u + b (u u^T) u + c (u u^T)^2 u    ns_steps times, (a, b, c) = ns_coefficients
    u <- size(in, out) u
    ```

    The kernel is the matrix (in, out) by which its layer multiplies: for a convolution, all axes but the last are
    inputs. A vector is a matrix with one input. The products are taken on the shorter side. With the default
    coefficients, singular values above 2e-3 of the norm end between 0.68 and 1.21, not at 1.

    `size` says how long the step is, for a learning rate of 1:

    * `"rms"`: 0.2 sqrt(max(in, out)), so that its elements are as large as those of Adam's steps.
    * `"spectral"`: sqrt(max(1, out / in)).
    * `"operator"`: sqrt(out / in), so that the outputs change by as much as the inputs are large, in root mean square.

    Args:
        momentum: Decay rate of the average of gradients, in [0, 1).
        ns_steps: Newton-Schulz iterations, an integer >= 1.
        ns_coefficients: Three numbers, of the polynomial that each iteration applies to the singular values.
        epsilon: Added to the norm that the matrix is divided by, >= 0.
        size: `"rms"`, `"spectral"` or `"operator"`.
        nesterov: Whether to look one step ahead.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Bernstein and Newhouse 2024,
        https://arxiv.org/abs/2409.20325; Liu et al. 2025 (`"rms"`), https://arxiv.org/abs/2502.16982; Pethick et al.
        2025 (`"operator"`), https://arxiv.org/abs/2502.07529.
    """

    elementwise = False
    batches = True
    schedulable = ("momentum", "epsilon")

    def __init__(
        self,
        momentum: Hyperparameter = 0.95,
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = JORDAN,
        epsilon: Hyperparameter = 1e-7,
        size: Literal["rms", "spectral", "operator"] = "rms",
        *,
        nesterov: bool = True,
    ) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.ns_steps = checks.count("ns_steps", ns_steps)
        self.ns_coefficients = checks.triple("ns_coefficients", ns_coefficients)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.size = checks.choice("size", size, SIZES)
        self.nesterov = checks.flag("nesterov", nesterov)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum", shape=matrix_shape(variable))]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        h = dict(zip("abc", self.ns_coefficients, strict=True))
        return h | {"momentum": self.momentum, "weight": 1 - self.momentum, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"]
        g = ops.reshape(u, m.shape)
        m = m + (g - m) * h["weight"]
        o = newton_schulz(g + (m - g) * h["momentum"] if self.nesterov else m, self.ns_steps, h)
        size = SIZES[self.size](*m.shape[-2:])
        return ops.reshape(o * size, u.shape), {"momentum": m}


def newton_schulz(x: Tensor, steps: int, h: State) -> Tensor:
    """Returns matrices with the singular vectors of `x` and singular values near 1.

    Args:
        x: The matrices, wide or tall; axes before the last two are a batch.
        steps: How often the polynomial is applied.
        h: Its coefficients `a`, `b` and `c`, and `epsilon`.
    """
    is_wide = x.shape[-2] <= x.shape[-1]
    x = x / (ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True)) + h["epsilon"])
    for _ in range(steps):
        gram = ops.matmul(x, _transposed(x)) if is_wide else ops.matmul(_transposed(x), x)
        p = h["b"] * gram + h["c"] * ops.matmul(gram, gram)
        x = h["a"] * x + (ops.matmul(p, x) if is_wide else ops.matmul(x, p))
    return x


def _transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)
