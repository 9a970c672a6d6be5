"""The sign of an average gradient, sized by what it does to a layer's outputs: Scion's step outside hidden layers."""

import math
import re
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class SignedMomentum(Transform):
    """Averages gradients and steps along the sign of the average, the shorter the more inputs an output adds up.

    ```
    m <- momentum m + (1 - momentum) g
    u  = head_radius / in * sign(m)           kernels with `in` > 1 inputs
    u  = radius sign(m)                       biases and other vectors, tables of embeddings, kernels with one input
    ```

    With a learning rate of 1 and inputs in [-1, 1], the outputs of a layer then change by at most the radius. A
    variable of two or more dimensions is a table of embeddings if `embed` is in its path, and else a kernel.

    Args:
        momentum: Decay rate of the average of gradients, in [0, 1).
        radius: Step of vectors and embeddings, > 0.
        head_radius: Step of kernels, over all their inputs together, > 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Pethick et al. 2025, https://arxiv.org/abs/2502.07529.
    """

    elementwise = False
    schedulable = ("momentum", "radius", "head_radius")

    def __init__(
        self, momentum: Hyperparameter = 0.9, radius: Hyperparameter = 1.0, head_radius: Hyperparameter = 1.0
    ) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.radius = checks.positive("radius", radius)
        self.head_radius = checks.positive("head_radius", head_radius)

    def slots(self, variable: Any) -> Sequence[Slot]:
        shape = tuple(variable.shape)
        is_kernel = len(shape) > 1 and not re.search("embed", getattr(variable, "path", ""), re.IGNORECASE)
        return [Slot("momentum", shape=matrix_shape(variable) if is_kernel else (1, math.prod(shape)))]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight": 1 - self.momentum, "radius": self.radius, "head_radius": self.head_radius}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"]
        m = m + (ops.reshape(u, m.shape) - m) * h["weight"]
        inputs = m.shape[-2]
        size = h["head_radius"] / inputs if inputs > 1 else h["radius"]
        return ops.reshape(ops.sign(m) * size, u.shape), {"momentum": m}
