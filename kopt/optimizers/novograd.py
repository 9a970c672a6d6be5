"""NovoGrad."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate, ScaleByNovograd


@register
class NovoGrad(ComposedOptimizer):
    """Divides the gradient of each variable by the root of an average of its squared norm, then adds momentum.

    ```
    v  = |g|^2                                      at the first gradient that is not 0
    v <- beta_2 v + (1 - beta_2) |g|^2              afterwards
    m <- beta_1 m + g / (sqrt(v) + epsilon) + weight_decay x
    x <- x - learning_rate m
    ```

    `epsilon` is outside the root. The decay is added to the normalized gradient and runs through the momentum, as in
    the paper, optax and pytorch_optimizer: it is decoupled from the norm, not from `m`, and shrinks weights by about
    `learning_rate * weight_decay / (1 - beta_1)` a step. Like `m` in the paper and optax, ours is a sum without the
    factor 1 - beta_1.

    Memory: 4 bytes per parameter, and 4 per variable.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Share of the momentum that is kept, in [0, 1).
        beta_2: Decay rate of the average squared norm, in [0, 1).
        epsilon: Added to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.NovoGrad(0.01, weight_decay=1e-3), loss="mse")
    ```

    References:
        Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        beta_1: float = 0.95,
        beta_2: Hyperparameter = 0.98,
        epsilon: Hyperparameter = 1e-8,
        **keywords: Unpack[Keywords],
    ) -> None:
        trace = Momentum(checks.fraction("beta_1", beta_1))
        recipe = [ScaleByNovograd(beta_2, epsilon), AddDecayedWeights(), trace, ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
