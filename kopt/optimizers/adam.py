"""Adam."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdam, ScaleByLearningRate


@register
class Adam(ComposedOptimizer):
    """Steps along an average of the gradients, divided by the root of an average of their squares.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    `epsilon` is outside the root and behind the bias correction, as in the paper, optax and torch; Keras adds it before
    the correction, with a default of 1e-7. Weight decay, if any, is decoupled; torch's `Adam` adds it to the gradient.

    Memory: 8 bytes per parameter, 12 with `amsgrad`.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        amsgrad: Whether to divide by the largest `v` so far; the maximum is taken before bias correction, as in Keras
            and torch (optax: after it).
        bias_correction: Whether to divide the averages by 1 - beta^t.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adam(1e-3), loss="mse")
    ```

    References:
        Kingma and Ba 2014, https://arxiv.org/abs/1412.6980; Reddi et al. 2018 (AMSGrad),
        https://arxiv.org/abs/1904.09237.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        *,
        amsgrad: bool = False,
        bias_correction: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByAdam(beta_1, beta_2, epsilon, amsgrad=amsgrad, bias_correction=bias_correction),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
