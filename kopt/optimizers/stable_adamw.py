"""AdamW with a smaller learning rate where the second moment is out of date."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import KeywordsWithoutDecay, LearningRate
from kopt.transforms import ScaleByLearningRate, ScaleByStableAdam


@register
class StableAdamW(ComposedOptimizer):
    """AdamW whose learning rate shrinks, for each variable, when its gradients outgrow their average.

    ```
    b_i = beta_i (1 - beta_i^(t-1)) / (1 - beta_i^t)                  i = 1, 2
    m  <- b_1 m + (1 - b_1) g
    v  <- b_2 v + (1 - b_2) g^2
    rate = learning_rate / max(1, rms(g / sqrt(max(v, epsilon^2))))
    x  <- x - rate (m / (sqrt(v) + epsilon) + weight_decay x)
    ```

    It takes the place of gradient clipping. The decay rates b_i grow from 0 to beta_i, so that m and v are Adam's
    averages with bias correction; `epsilon` is outside the root. Weight decay is decoupled and multiplied by the
    shrunken rate. Transforms in `after` see the direction with the decay in it.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0; its square is the least divisor in the root mean square.
        weight_decay: Share of each weight that goes per step and unit of the shrunken rate, >= 0. `groups` and
            `exclude_from_weight_decay` say which variables have another one or none.
        **keywords: `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.StableAdamW(2e-3, beta_2=0.95, weight_decay=0.1), loss="mse")
    ```

    References:
        Wortsman et al. 2023, https://arxiv.org/abs/2304.13013.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.99,
        epsilon: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter = 0.01,
        **keywords: Unpack[KeywordsWithoutDecay],
    ) -> None:
        recipe = [ScaleByStableAdam(beta_1, beta_2, epsilon, weight_decay=None), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, weight_decay=weight_decay, **keywords)
