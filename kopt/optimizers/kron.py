"""PSGD with Kronecker-factored preconditioners."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ClipByRms, ScaleByKron, ScaleByLearningRate


@register
class Kron(ComposedOptimizer):
    """Steps along averaged gradients, whitened by one triangular matrix for the inputs and one for the outputs.

    ```
    m <- beta_1 m + (1 - beta_1) g
    G  = m / (1 - beta_1^t)                                               as a matrix (in, out)
    L, R <- one step of descent on g^T P g + tr(P^-1)                     at some steps; P = (R^T R) x (L^T L)
    u  = L^T L G R^T R
    x <- x - learning_rate (u min(1, 1.1 / rms(u)) + weight_decay x)
    ```

    `ScaleByKron` has the equations of L and R. There is no epsilon, and weight decay is decoupled. L and R are upper
    triangular; a side with more than `max_size_triangular` elements, or one, has a diagonal factor instead, and a bias
    one diagonal factor in all. Embeddings and the head are treated like all else.

    Nothing is random: where the published algorithm draws a probe for each change of L and R, ours takes the mean over
    all probes, which needs no more than the inverses of L and R. Training thus repeats bit for bit after loading, and
    replicas agree. Other differences: convolution kernels count as matrices of (height width in, out), where the
    published form has a factor for each axis; and L and R are balanced at every change, which leaves P as it is. The
    published code clips the root mean square of u at 1.1, too, and learns from the averaged gradient, as ours does.

    Memory: 12 bytes per parameter of a square kernel: 4 (1 + in / out + out / in) for others; 8 for vectors. A step
    multiplies a kernel of (in, out) four times by L or R, and a change of them about as much again, plus two triangular
    inverses; kernels of one shape are batched.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        precondition_frequency: L and R change at every so many-th step, from the first on. None for each of the first
            500 steps, then ever more rarely, down to 3 in 100 after 4,000.
        precondition_learning_rate: Relative size of these changes, in [0, 1].
        max_size_triangular: Longest side with a triangular factor, >= 1.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Kron(3e-4, weight_decay=0.1), loss="mse")
    ```

    References:
        Li 2018, https://arxiv.org/abs/1512.04202; Li 2022, https://arxiv.org/abs/2211.04422; Pooladzandi and Li 2024,
        https://arxiv.org/abs/2402.04553.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        precondition_frequency: int | None = None,
        precondition_learning_rate: Hyperparameter = 0.1,
        max_size_triangular: int = 8192,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByKron(beta_1, precondition_frequency, precondition_learning_rate, max_size_triangular),
            ClipByRms(1.1),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
