"""Adan: Nesterov's momentum from differences of gradients."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdan, ScaleByLearningRate


@register
class Adan(ComposedOptimizer):
    """Steps along averages of the gradients and of their changes, divided by the size of a gradient one step ahead.

    ```
    d  = g - g_previous, 0 at the first step
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) d
    n <- beta_3 n + (1 - beta_3) (g + beta_2 d)^2
    u  = (m / (1 - beta_1^t) + beta_2 v / (1 - beta_2^t)) / (sqrt(n / (1 - beta_3^t)) + epsilon)
    x <- (x - learning_rate u) / (1 + learning_rate weight_decay)
    ```

    The betas are those of the authors' code, 1 - beta of the paper; so is the bias correction, which the paper does not
    have. optax multiplies `d` and `v` by 1 - beta_2 where the paper, in these letters, has beta_2. `epsilon` is outside
    the root and behind the bias correction. Weight decay, if any, is decoupled and proximal, as in the paper: the
    weights are divided, so that they never change sign by it.

    Memory: 16 bytes per parameter, with the previous gradient.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of differences, and their weight, in [0, 1).
        beta_3: Decay rate of the average of squares, in [0, 1).
        epsilon: Added to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adan(1e-3, weight_decay=0.02), loss="mse")
    ```

    References:
        Xie et al. 2022, https://arxiv.org/abs/2208.06677.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.98,
        beta_2: Hyperparameter = 0.92,
        beta_3: Hyperparameter = 0.99,
        epsilon: Hyperparameter = 1e-8,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByAdan(beta_1, beta_2, beta_3, epsilon), ScaleByLearningRate(), AddDecayedWeights(proximal=True)]
        super().__init__(recipe, learning_rate, **keywords)
