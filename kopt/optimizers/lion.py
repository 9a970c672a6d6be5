"""Lion."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByLion


@register
class Lion(ComposedOptimizer):
    """Steps by the sign of a mixture of the newest gradient and an average of the older ones: all weights equally far.

    ```
    x <- x - learning_rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay x)
    m <- beta_2 m + (1 - beta_2) g
    ```

    There is no epsilon. Weight decay is decoupled, as in the paper, Keras and optax. The paper advises a learning rate
    3 to 10 times smaller than AdamW's, with a decay that many times larger. The default rate is Keras'; the paper's is
    1e-4.

    Memory: 4 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Share of the average in the mixture, in [0, 1).
        beta_2: Decay rate of the average, in [0, 1).
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Lion(1e-4, weight_decay=1.0), loss="mse")
    ```

    References:
        Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.99,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByLion(beta_1, beta_2), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
