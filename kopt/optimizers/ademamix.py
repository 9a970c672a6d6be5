"""Adam with a fast and a slow average of the gradients."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdemamix, ScaleByLearningRate


@register
class AdEMAMix(ComposedOptimizer):
    """Steps along a mixture of two averages of the gradients, one of which remembers tens of thousands of steps.

    ```
    m <- beta_1 m + (1 - beta_1) g
    s <- beta_3 s + (1 - beta_3) g
    v <- beta_2 v + (1 - beta_2) g^2
    u  = (m / (1 - beta_1^t) + slow_weight s) / (sqrt(v / (1 - beta_2^t)) + epsilon)
    x <- x - learning_rate (u + weight_decay x)
    ```

    The slow average is not corrected for its start at 0. With `warmup_steps` T, `slow_weight` is multiplied by
    min(t / T, 1), and beta_3 grows from beta_1 so that the half-life of the slow average grows in proportion to t; the
    paper takes the length of the run for T, and warns that training can diverge early without. The paper and optax call
    `slow_weight` alpha. `epsilon` is outside the root and behind the bias correction. Weight decay, if any, is
    decoupled, as in the paper.

    Memory: 12 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the fast average, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        beta_3: Decay rate of the slow average, in [0, 1).
        slow_weight: Weight of the slow average, >= 0.
        epsilon: Added to the root, >= 0.
        warmup_steps: Over how many steps `slow_weight` and `beta_3` grow to their values; 0 for none.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.AdEMAMix(1e-3, warmup_steps=10_000), loss="mse")
    ```

    References:
        Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        beta_3: Hyperparameter = 0.9999,
        slow_weight: Hyperparameter = 5.0,
        epsilon: Hyperparameter = 1e-8,
        warmup_steps: int = 0,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByAdemamix(beta_1, beta_2, beta_3, slow_weight, epsilon, warmup_steps),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
