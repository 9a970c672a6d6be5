"""Adamax: Adam with a maximum in place of the mean square."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdamax, ScaleByLearningRate


@register
class Adamax(ComposedOptimizer):
    """Divides an average of the gradients by a fading maximum of their absolute values.

    ```
    m <- beta_1 m + (1 - beta_1) g
    w <- max(beta_2 w, |g| + epsilon)
    x <- x - learning_rate (m / ((1 - beta_1^t) w) + weight_decay x)
    ```

    `epsilon` is inside the maximum, as in torch and optax; Keras adds it to `w` (default 1e-7), and the paper has none.
    Weight decay, if any, is decoupled; torch adds it to the gradient. Default rate: 1e-3 as in Keras (paper and torch
    2e-3).

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the maximum, in [0, 1).
        epsilon: Added to the absolute value of each gradient, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adamax(1e-3), loss="mse")
    ```

    References:
        Kingma and Ba 2014, section 7.1, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByAdamax(beta_1, beta_2, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
