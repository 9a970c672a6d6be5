"""Adam with decoupled weight decay."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import KeywordsWithoutDecay, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdam, ScaleByLearningRate


@register
class AdamW(ComposedOptimizer):
    """Adam, with weights that shrink by `learning_rate * weight_decay` a step, whatever their gradients.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    `epsilon` is outside the root and behind the bias correction, as in the paper, optax and torch; Keras adds it before
    the correction, with a default of 1e-7. The decay is multiplied by the learning rate, as in Keras, torch and optax;
    the paper multiplies it by the schedule's factor alone. Default decay: 0.004 as in Keras (torch 0.01, optax 1e-4).

    Memory: 8 bytes per parameter, 12 with `amsgrad`.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        weight_decay: Share of each weight that goes per step and unit of learning rate, >= 0. `groups` and
            `exclude_from_weight_decay` say which variables have another one or none.
        amsgrad: Whether to divide by the largest `v` so far; the maximum is taken before bias correction, as in Keras
            and torch (optax: after it).
        **keywords: `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.AdamW(1e-3, weight_decay=0.1), loss="mse")
    ```

    References:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter = 0.004,
        *,
        amsgrad: bool = False,
        **keywords: Unpack[KeywordsWithoutDecay],
    ) -> None:
        recipe = [
            ScaleByAdam(beta_1, beta_2, epsilon, amsgrad=amsgrad),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, weight_decay=weight_decay, **keywords)
