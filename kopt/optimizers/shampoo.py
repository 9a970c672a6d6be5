"""Shampoo, in blocks and at the length of another method's step."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate, ScaleByShampoo
from kopt.transforms.shampoo import Grafting


@register
class Shampoo(ComposedOptimizer):
    """Multiplies blocks of the averaged gradient by inverse fourth roots of its averaged products with itself.

    ```
    m <- beta_1 m + (1 - beta_1) g;            m_hat = m / (1 - beta_1^t)
    per block of at most `block_size` rows and columns:
        L <- beta_2 L + (1 - beta_2) g g';     L_hat = L / (1 - beta_2^t)
        R <- beta_2 R + (1 - beta_2) g' g;     R_hat = R / (1 - beta_2^t)
        every `precondition_frequency` steps from `start_preconditioning_step` on:
            A = (L_hat + epsilon l I)^(-1/4);  B = (R_hat + epsilon r I)^(-1/4)
        d = A m_hat B
    v <- beta_2 v + (1 - beta_2) g^2
    a  = m_hat / (sqrt(v / (1 - beta_2^t)) + grafting_epsilon)        "adam"; see `grafting` for others
    b <- momentum b + d |a| / |d|
    x <- x - learning_rate (b + weight_decay x)
    ```

    l and r are the largest eigenvalues of L_hat and R_hat, so that `epsilon` means the same at any scale of gradients
    (Gupta et al. start L and R at epsilon I, Shi et al. add epsilon I). `grafting_epsilon` is outside the root and
    behind the bias correction. |a| and |d| are norms of the whole variable (Shi et al.: of each block). Before the
    first roots, the step is a. Weight decay is decoupled. The first paper's method is `Shampoo(beta_1=0, block_size=n,
    grafting=None, precondition_frequency=1, start_preconditioning_step=1, accumulate=True)` with n as large as the
    largest side.

    A kernel is the matrix (inputs, outputs) that its layer multiplies by, also that of a convolution, (height * width *
    in, out), and of attention; the papers give each axis of a tensor a matrix of its own. A side that is longer than
    `block_size` is cut into the fewest blocks of equal length that fit. Vectors, scalars, and kernels with one input or
    one output are columns: A alone multiplies them, with the exponent -1/2.

    Memory: 24 bytes per parameter of a kernel whose blocks are square: 8 for m and v, 16 for L, R, A and B. Momentum
    takes 4 more, other lengths than "adam" and "rmsprop" 4 less. A larger `block_size` takes no more memory, but time.

    Compute: for a kernel of 512 x 512 on one core, a step costs 3 times AdamW's, one that takes roots 9 times
    (`benchmarks/matrix_methods.py`).

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the averages L, R and v, in [0, 1).
        epsilon: Share of the largest eigenvalue that is added to all of them, >= 0. In float32, smaller eigenvalues
            than 1e-7 of the largest are noise.
        momentum: Of the steps, behind the grafting as in Anil et al., in [0, 1); 0 keeps no buffer.
        block_size: Largest number of rows or columns of a block, >= 1.
        precondition_frequency: Every how many steps A and B are computed, >= 1.
        start_preconditioning_step: The step at which they are computed first, >= 1.
        grafting: Whose step lends its length: `"adam"`; `"rmsprop"`, a = m_hat / (sqrt(v) + grafting_epsilon); `"sgd"`,
            a = m_hat. None for none: d as it is, and m_hat before the first roots.
        grafting_epsilon: Added to the root of v, >= 0.
        accumulate: Whether L and R are plain sums, as in the first paper: L <- L + g g', and L_hat = L.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Shampoo(1e-3, weight_decay=1e-2), loss="mse")
    ```

    References:
        Gupta et al. 2018, https://arxiv.org/abs/1802.09568; Anil et al. 2020 (blocks, grafting, rare roots),
        https://arxiv.org/abs/2002.09018; Shi et al. 2023 (averaged gradients, Adam's length),
        https://arxiv.org/abs/2309.06497.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: float = 1e-6,
        momentum: Hyperparameter = 0.0,
        block_size: int = 128,
        precondition_frequency: int = 10,
        start_preconditioning_step: int = 10,
        grafting: Grafting | None = "adam",
        grafting_epsilon: float = 1e-8,
        *,
        accumulate: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        precondition = ScaleByShampoo(
            beta_1,
            beta_2,
            epsilon,
            block_size,
            precondition_frequency,
            start_preconditioning_step,
            grafting,
            grafting_epsilon,
            accumulate=accumulate,
        )
        trace = Momentum(momentum)
        recipe = [precondition, *([trace] if momentum else []), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
