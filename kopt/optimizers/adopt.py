"""ADOPT: Adam that converges for every beta_2."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdopt, ScaleByLearningRate


@register
class ADOPT(ComposedOptimizer):
    """Averages gradients, each divided by the root of the mean square of those before it.

    ```
    first step:  v  = g^2, and x only decays
    later:       c  = (t - clip_delay)^clip_exponent
                 m <- beta_1 m + (1 - beta_1) clip(g / max(sqrt(v), epsilon), -c, c)
                 v <- beta_2 v + (1 - beta_2) g^2
                 x <- x - learning_rate (m + weight_decay x)
    ```

    `epsilon` is the smallest divisor, not added. The bound c counts from the second step, as in the paper and optax;
    pytorch_optimizer's, with `clip_delay=0`, is a step ahead. There is no bias correction. Weight decay, if any, is
    decoupled. A variable whose first gradient comes after the first step has no mean square to be divided by: there the
    bound is what limits its step.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of normalised gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Smallest divisor, >= 0.
        clip_exponent: How the bound on each element grows, >= 0; None for no bound, as in the paper's first version.
        clip_delay: Steps by which the growth of the bound is put off, an integer >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.ADOPT(1e-3), loss="mse")
    ```

    References:
        Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.9999,
        epsilon: float = 1e-6,
        clip_exponent: Hyperparameter | None = 0.25,
        clip_delay: int = 1,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByAdopt(beta_1, beta_2, epsilon, clip_exponent, clip_delay),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
