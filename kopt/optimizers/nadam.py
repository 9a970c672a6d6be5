"""Adam with Nesterov's momentum."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByNadam


@register
class NAdam(ComposedOptimizer):
    """Adam, with the average of the gradients as it will be one step ahead.

    ```
    m   <- beta_1 m + (1 - beta_1) g
    v   <- beta_2 v + (1 - beta_2) g^2
    n    = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
    x   <- x - learning_rate (n / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    mu_t = beta_1                                              momentum_decay=None
    mu_t = beta_1 (1 - 0.96^(momentum_decay t) / 2)            otherwise
    ```

    By default `mu` is constant, as in optax. The paper's schedule is `momentum_decay=0.004`, torch's default; Keras has
    1, so that `mu` is within 1 % of beta_1 after a hundred steps. `epsilon` is outside the root and behind the bias
    correction. The paper multiplies `v` once more by beta_2; optax, torch and Keras do not. Weight decay, if any, is
    decoupled; torch adds it to the gradient unless told otherwise.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        momentum_decay: How fast `mu` grows from `beta_1 / 2` to `beta_1`, >= 0; None for a constant `mu`.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.NAdam(1e-3), loss="mse")
    ```

    References:
        Dozat 2016, "Incorporating Nesterov momentum into Adam", https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        momentum_decay: Hyperparameter | None = None,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByNadam(beta_1, beta_2, epsilon, momentum_decay), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
