"""Adadelta."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdadelta, ScaleByLearningRate


@register
class Adadelta(ComposedOptimizer):
    """Multiplies each gradient by the root mean square of past updates over that of past gradients.

    ```
    v <- rho v + (1 - rho) g^2
    u  = g sqrt(d + epsilon) / sqrt(v + epsilon)
    d <- rho d + (1 - rho) u^2
    x <- x - learning_rate (u + weight_decay x)
    ```

    `epsilon` is inside both roots, as in the paper, Keras, torch and optax; it also sets the size of the first updates,
    about `sqrt(epsilon)`. The paper has no learning rate: 1.0 is its method, and torch's default. The defaults here are
    Keras', with which weights move very slowly. Weight decay is decoupled; torch adds it to the gradient.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        rho: Decay rate of both averages, in [0, 1).
        epsilon: Added under both roots, >= 0; at 0 nothing ever moves.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adadelta(1.0), loss="mse")
    ```

    References:
        Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        rho: float = 0.95,
        epsilon: Hyperparameter = 1e-7,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByAdadelta(rho, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
