"""Muon for hidden matrices, AdamW for the rest."""

from collections.abc import Sequence
from typing import Literal, Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.optimizers.partition import Match, Partition, matrix_rule
from kopt.transforms import AddDecayedWeights, OrthogonalizedMomentum, Scale, ScaleByAdam, ScaleByLearningRate


@register
class Muon(ComposedOptimizer):
    """Steps hidden kernels along averaged gradients whose singular values are made equal, and all else as AdamW does.

    ```
    m <- momentum m + (1 - momentum) g                                    hidden kernels, as matrices (in, out)
    u  = momentum m + (1 - momentum) g                                    or m, with nesterov=False
    u <- u / (|u|_F + epsilon)
    u <- a u + b (u u^T) u + c (u u^T)^2 u                                ns_steps times, (a, b, c) = ns_coefficients
    x <- x - learning_rate (size(in, out) u + weight_decay x)

    x <- x - learning_rate (adam_learning_rate_ratio Adam(g) + weight_decay x)    embeddings, the head, vectors
    ```

    `epsilon` is added to the norm of the averaged gradient; Adam's stands outside the root, behind the bias correction.
    Weight decay is decoupled, and the same for all variables. Convolution kernels count as matrices of (height width
    in, out), those of attention as (in, heads size) or (heads size, out).

    The momentum is that of the original definition (Jordan et al. 2024). Keras agrees: it adds gradients up without the
    factor 1 - momentum, which the norm cancels. optax agrees for `nesterov=False`; its Nesterov form corrects for bias
    and differs in the first steps. The default `size` is that of Liu et al. 2025, as in Keras: rates and decays of
    AdamW then suit the matrices, too. Jordan's is `size="spectral"`, with rates around 0.02 and an
    `adam_learning_rate_ratio` around 0.015. Keras leaves convolution kernels to Adam, and takes the head for a hidden
    matrix unless told otherwise. Torch iterates in bfloat16; here all is float32.

    Memory: 4 bytes per parameter of a hidden kernel, 8 of the others. A step adds up to `ns_steps` times 6 n^2 m
    floating-point operations for a kernel of n <= m (batched over kernels of one shape): for a batch of b samples,
    about 5 n / b of what the layer itself costs.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: Decay rate of the average of gradients, in [0, 1).
        ns_steps: Newton-Schulz iterations, an integer >= 1.
        ns_coefficients: Three numbers: the polynomial a s + b s^3 + c s^5 that each iteration applies to the singular
            values s.
        epsilon: Added to the norm of the averaged gradient, >= 0.
        size: Of the step of a hidden kernel: `"rms"` for 0.2 sqrt(max(in, out)), `"spectral"` for
            sqrt(max(1, out / in)), `"operator"` for sqrt(out / in).
        matrices: Which variables are hidden kernels: a regular expression searched in their paths, or a callable
            `variable -> bool`. By default all kernels with two or more dimensions but the last one and embeddings.
        adam_learning_rate_ratio: Factor on the rate of Adam's steps, > 0.
        adam_beta_1: Adam's decay rate of the average of gradients, in [0, 1).
        adam_beta_2: Adam's decay rate of the average of squared gradients, in [0, 1).
        adam_epsilon: Added to Adam's root, >= 0.
        nesterov: Whether to look one step ahead with the momentum of hidden kernels.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Muon(1e-3, weight_decay=0.1), loss="mse")
    ```

    References:
        Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025,
        https://arxiv.org/abs/2502.16982; Bernstein and Newhouse 2024, https://arxiv.org/abs/2409.20325.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        momentum: Hyperparameter = 0.95,
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315),
        epsilon: Hyperparameter = 1e-7,
        size: Literal["rms", "spectral", "operator"] = "rms",
        matrices: Match | None = None,
        adam_learning_rate_ratio: float = 1.0,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_epsilon: float = 1e-8,
        *,
        nesterov: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        hidden = [
            OrthogonalizedMomentum(momentum, ns_steps, ns_coefficients, epsilon, size, nesterov=nesterov),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        rest = [
            ScaleByAdam(
                checks.fraction("adam_beta_1", adam_beta_1),
                checks.fraction("adam_beta_2", adam_beta_2),
                checks.non_negative("adam_epsilon", adam_epsilon),
            ),
            Scale(checks.positive("adam_learning_rate_ratio", adam_learning_rate_ratio)),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(Partition(matrix_rule(matrices), hidden, rest), learning_rate, **keywords)
