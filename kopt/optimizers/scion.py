"""Scion: each layer steps by the same amount in its own norm, and may be kept in a ball of that norm."""

from collections.abc import Sequence
from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import KeywordsWithoutDecay, LearningRate
from kopt.optimizers.partition import Match, Partition, matrix_rule
from kopt.transforms import AddDecayedWeights, OrthogonalizedMomentum, Scale, ScaleByLearningRate, SignedMomentum


@register
class Scion(ComposedOptimizer):
    """Steps to where a ball in the norm of each layer is lowest: orthogonal matrices in the middle, signs elsewhere.

    ```
    m <- momentum m + (1 - momentum) g
    u  = radius sqrt(out / in) orthogonal(m)     hidden kernels, as matrices (in, out)
    u  = head_radius / in sign(m)                the head, and other kernels that are not hidden
    u  = radius sign(m)                          biases and other vectors, embeddings
    x <- x - learning_rate (u + weight_decay x)

    orthogonal(m): u = m / (|m|_F + epsilon), then ns_steps times u <- a u + b (u u^T) u + c (u u^T)^2 u
    ```

    `epsilon` is added to the norm of the averaged gradient. With `weight_decay=1` (the default) this is the constrained
    algorithm of the paper: x <- (1 - learning_rate) x - learning_rate u, so that with rates up to 1 no layer leaves its
    ball once it is in. `weight_decay=0` is the unconstrained algorithm; between them, the balls are 1 / weight_decay as
    large.

    Differences from the paper: it writes the momentum as alpha = 1 - momentum; it has (1 / k^2) sqrt(out / in) for a
    convolution with k^2 places and `in` channels, where ours, sqrt(out / (k^2 in)), is k times as large; it scales
    biases by their root mean square, where ours take the sign.

    Memory: 4 bytes per parameter. Extra compute as in `Muon`.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: Decay rate of the average of gradients, in [0, 1).
        radius: Step of hidden kernels, vectors and embeddings at a rate of 1, and their ball, > 0.
        head_radius: The same of the head, over all its inputs together, > 0.
        weight_decay: Share of each weight that goes per step and unit of learning rate, >= 0.
        ns_steps: Newton-Schulz iterations, an integer >= 1.
        ns_coefficients: Three numbers: the polynomial a s + b s^3 + c s^5 that each iteration applies to the singular
            values s.
        epsilon: Added to the norm of the averaged gradient, >= 0.
        matrices: Which variables are hidden kernels: a regular expression searched in their paths, or a callable
            `variable -> bool`. By default all kernels with two or more dimensions but the last one and embeddings.
        **keywords: `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Scion(3e-4, weight_decay=0.0), loss="mse")
    ```

    References:
        Pethick et al. 2025, https://arxiv.org/abs/2502.07529.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 3e-4,
        momentum: Hyperparameter = 0.9,
        radius: float = 50.0,
        head_radius: Hyperparameter = 3000.0,
        weight_decay: Hyperparameter = 1.0,
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315),
        epsilon: Hyperparameter = 1e-7,
        matrices: Match | None = None,
        **keywords: Unpack[KeywordsWithoutDecay],
    ) -> None:
        hidden = [
            OrthogonalizedMomentum(momentum, ns_steps, ns_coefficients, epsilon, "operator", nesterov=False),
            Scale(checks.positive("radius", radius)),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        rest = [SignedMomentum(momentum, radius, head_radius), AddDecayedWeights(), ScaleByLearningRate()]
        recipe = Partition(matrix_rule(matrices), hidden, rest)
        super().__init__(recipe, learning_rate, weight_decay=weight_decay, **keywords)
