"""LaProp: Adam with the division in front of the average."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLaprop, ScaleByLearningRate


@register
class LaProp(ComposedOptimizer):
    """Averages gradients that were divided by the root of their mean square.

    ```
    v <- beta_2 v + (1 - beta_2) g^2
    m <- beta_1 m + (1 - beta_1) g / (sqrt(v / (1 - beta_2^t)) + epsilon)
    x <- x - learning_rate (m / (1 - beta_1^t) + weight_decay x)
    ```

    Adam divides an average of past gradients by the present root, and needs beta_1 < sqrt(beta_2); here each gradient
    keeps the divisor of its own step, and any pair of betas is safe. The learning rate stands outside the average;
    pytorch_optimizer averages rate times gradient, and agrees while the rate is constant. `epsilon` is outside the root
    and behind the bias correction. Weight decay, if any, is decoupled and acts on the weights as they were before the
    step; pytorch_optimizer decays them after it.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of normalised gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.LaProp(4e-4), loss="mse")
    ```

    References:
        Ziyin et al. 2020, https://arxiv.org/abs/2002.04839.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 4e-4,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-15,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByLaprop(beta_1, beta_2, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
