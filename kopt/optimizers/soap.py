"""SOAP."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import KeywordsWithoutDecay, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleBySoap


@register
class SOAP(ComposedOptimizer):
    """Adam in the eigenvectors of averaged products of the gradient with itself, which turn slowly.

    ```
    G  = Q_L' g Q_R
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) G^2
    u  = Q_L ((Q_L' m Q_R) / (sqrt(v) + epsilon)) Q_R' sqrt(1 - beta_2^(t - 1)) / (1 - beta_1^(t - 1))
    x <- x - learning_rate (u + weight_decay x)
    L <- beta_2 L + (1 - beta_2) g g'
    R <- beta_2 R + (1 - beta_2) g' g
    every `precondition_frequency` steps, Q standing for Q_L with L and for Q_R with R:
        sort the columns q of Q by falling q' L q, and v along with them;  Q <- QR(L Q)
    ```

    At the first step, L, R, Q_L and Q_R are made from the gradient and u = 0. `epsilon` is outside the root and
    compared with the root before bias correction, as in the paper's implementation. Weight decay is decoupled; it acts
    on the weights before the step (the paper's implementation: after it, and not at the first step).

    A kernel is the matrix (inputs, outputs) that its layer multiplies by, also that of a convolution, (height * width *
    in, out), and of attention; the paper gives each axis of a tensor a Q of its own. Vectors, scalars, and kernels with
    one input or one output take Adam's step from the second gradient on. What stays the same whatever library computes
    the decompositions: weights do not depend on the signs of the columns of Q. They do depend on Q where L has no rank:
    the first Q_L of a kernel (6, 4) is completed by fixed vectors (see `ScaleBySoap`); later, where fewer gradients
    than needed have been seen, what rounding makes of L decides, as in any implementation.

    Memory: 24 bytes per parameter of a square kernel: 8 for m and v, 16 for L, R, Q_L and Q_R. In general, a kernel (n,
    k) keeps 8 n k + 8 n^2 + 8 k^2 bytes, without n^2 or k^2 for a side above `max_precondition_dimension`.

    Compute: for a kernel of 512 x 512 on one core, a step costs 5 times AdamW's, one that also turns Q 13 times
    (`benchmarks/matrix_methods.py`).

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the averages v, L and R, in [0, 1).
        epsilon: Added to the root of v, >= 0.
        weight_decay: Share of each weight that goes per step and unit of learning rate, >= 0.
        precondition_frequency: Every how many steps Q_L and Q_R follow L and R, >= 1.
        max_precondition_dimension: A side of a matrix that is longer has no Q: the gradient is turned on the other side
            only. The paper's implementation has 10000; memory and the time of the QR grow with its square and cube.
        **keywords: `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.SOAP(3e-3, precondition_frequency=10), loss="mse")
    ```

    References:
        Vyas et al. 2024, https://arxiv.org/abs/2409.11321.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 3e-3,
        beta_1: Hyperparameter = 0.95,
        beta_2: Hyperparameter = 0.95,
        epsilon: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter = 0.01,
        precondition_frequency: int = 10,
        max_precondition_dimension: int = 4096,
        **keywords: Unpack[KeywordsWithoutDecay],
    ) -> None:
        recipe = [
            ScaleBySoap(beta_1, beta_2, epsilon, precondition_frequency, max_precondition_dimension),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, weight_decay=weight_decay, **keywords)
