"""Signum and signSGD."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate, ScaleBySign


@register
class Signum(ComposedOptimizer):
    """Steps by the sign of an average of the gradients, or of the gradient itself (signSGD): all weights equally far.

    ```
    m <- momentum m + g
    x <- x - learning_rate (sign(m) + weight_decay x)
    ```

    The paper and optax average, m <- momentum m + (1 - momentum) g; the sign is the same. There is no epsilon, and an
    element that is 0 stays. Weight decay is decoupled.

    Memory: 4 bytes per parameter, 0 without momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: In [0, 1); 0 keeps no buffer and is signSGD.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Signum(1e-4, momentum=0.9), loss="mse")
    ```

    References:
        Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        momentum: Hyperparameter = 0.9,
        **keywords: Unpack[Keywords],
    ) -> None:
        trace = Momentum(momentum)
        recipe = [*([trace] if momentum else []), ScaleBySign(), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
