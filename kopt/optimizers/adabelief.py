"""AdaBelief: Adam with the variance in place of the mean square."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByBelief, ScaleByLearningRate


@register
class AdaBelief(ComposedOptimizer):
    """Takes long steps where gradients are as their average predicts, and short ones where they are not.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) (g - m)^2 + epsilon
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    `epsilon` enters twice, as in the paper: into `v` at each step, where it adds up to epsilon / (1 - beta_2), and
    outside the root, behind the bias correction. optax has an argument for each, pytorch_optimizer one for both. The
    authors' later code adds RAdam's factor by default; ours does not. Weight decay, if any, is decoupled.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared deviations, in [0, 1).
        epsilon: Added to `v` at each step and to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.AdaBelief(1e-3), loss="mse")
    ```

    References:
        Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-16,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByBelief(beta_1, beta_2, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
