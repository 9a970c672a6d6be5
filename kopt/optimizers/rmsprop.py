"""RMSprop, plain or centered, with or without momentum."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate, ScaleByRms


@register
class RMSprop(ComposedOptimizer):
    """Divides each gradient by the root of an average of its squares.

    ```
    v <- rho v + (1 - rho) g^2
    a <- rho a + (1 - rho) g                             centered; else a = 0
    m <- momentum m + g / sqrt(v - a^2 + epsilon)
    x <- x - learning_rate (m + weight_decay x)
    ```

    `epsilon` is inside the root, as in Keras and optax; torch adds it outside. The learning rate stands outside the
    momentum buffer, as in torch; Keras and optax keep it inside, and agree with ours while the rate is constant. Weight
    decay is decoupled.

    Memory: 4 bytes per parameter, 4 more for `centered`, 4 more with momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        rho: Decay rate of the averages, in [0, 1).
        momentum: In [0, 1); 0 keeps no buffer.
        epsilon: Added under the root, >= 0.
        centered: Whether to divide by the standard deviation instead of the root mean square.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.RMSprop(1e-3, centered=True), loss="mse")
    ```

    References:
        Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for machine learning"; Graves 2013 (centered),
        https://arxiv.org/abs/1308.0850.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        rho: Hyperparameter = 0.9,
        momentum: Hyperparameter = 0.0,
        epsilon: Hyperparameter = 1e-7,
        *,
        centered: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        scale, trace = ScaleByRms(rho, epsilon, centered=centered), Momentum(momentum)
        recipe = [scale, *([trace] if momentum else []), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
