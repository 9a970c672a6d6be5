"""Gradient descent, with or without momentum."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate


@register
class SGD(ComposedOptimizer):
    """Gradient descent: full-batch, mini-batch or single-sample is a matter of the batch size given to `fit`.

    ```
    m <- momentum m + g
    x <- x - learning_rate (m + weight_decay x)                       momentum
    x <- x - learning_rate (g + momentum m + weight_decay x)          Nesterov
    ```

    The learning rate stands outside the momentum buffer, as in torch and optax; Keras keeps it inside. Both agree while
    the rate is constant. Weight decay is decoupled, as in Keras; torch adds it to the gradient.

    Memory: 0 bytes per parameter, 4 with momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: In [0, 1); 0 keeps no buffer.
        nesterov: Whether to look one step ahead; needs momentum.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.SGD(0.1, momentum=0.9, nesterov=True), loss="mse")
    ```

    References:
        Robbins and Monro 1951, "A stochastic approximation method"; Polyak 1964, "Some methods of speeding up the
        convergence of iteration methods"; Sutskever et al. 2013, "On the importance of initialization and momentum in
        deep learning".
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: Hyperparameter = 0.0,
        *,
        nesterov: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        trace = Momentum(momentum, nesterov=nesterov)
        if nesterov and not momentum:
            raise ValueError(f"`nesterov=True` needs `momentum` > 0. Received: momentum={momentum!r}.")
        recipe = [*([trace] if momentum else []), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
