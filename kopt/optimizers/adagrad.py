"""Adagrad."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByRss


@register
class Adagrad(ComposedOptimizer):
    """Divides each gradient by the root of the sum of all its squares so far, so that steps only shrink.

    ```
    v <- v + g^2
    x <- x - learning_rate (g / sqrt(initial_accumulator_value + v + epsilon) + weight_decay x)
    ```

    `epsilon` is inside the root, as in Keras and optax; torch adds it outside, with 1e-10 and an initial value of 0.
    The defaults are Keras'. The initial value is added under the root and is not part of the state. Weight decay is
    decoupled; torch adds it to the gradient.

    Memory: 4 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        initial_accumulator_value: What the sum of squares starts with, >= 0.
        epsilon: Added under the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adagrad(0.01), loss="mse")
    ```

    References:
        Duchi et al. 2011, "Adaptive subgradient methods for online learning and stochastic optimization".
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        initial_accumulator_value: float = 0.1,
        epsilon: Hyperparameter = 1e-7,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByRss(initial_accumulator_value, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
