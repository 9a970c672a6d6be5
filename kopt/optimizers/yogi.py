"""Yogi: Adam with a mean square that moves by bounded steps."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByYogi


@register
class Yogi(ComposedOptimizer):
    """Adam, with a mean square that does not forget large gradients faster than small ones come in.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- v - (1 - beta_2) sign(v - g^2) g^2
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    `v` starts at `initial_accumulator_value` and `m` at 0, so that weights without gradients stay; optax and
    pytorch_optimizer start `m` at `initial_accumulator_value`, too. The bias correction is theirs; the paper has none.
    `epsilon` is outside the root and behind the bias correction. Weight decay, if any, is decoupled.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: 1 - beta_2 is the largest share of g^2 by which `v` moves, in [0, 1).
        epsilon: Added to the root, >= 0.
        initial_accumulator_value: What `v` starts at, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Yogi(1e-2), loss="mse")
    ```

    References:
        Zaheer et al. 2018, "Adaptive methods for nonconvex optimization",
        https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-3,
        initial_accumulator_value: float = 1e-6,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByYogi(beta_1, beta_2, epsilon, initial_accumulator_value),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
