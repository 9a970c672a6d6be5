"""MADGRAD."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByMadgrad


@register
class MADGRAD(ComposedOptimizer):
    """Dual averaging: the weights follow a point that all gradients so far and the first weights define.

    ```
    l  = learning_rate sqrt(t)
    s <- s + l g
    v <- v + l g^2
    z  = x_1 - s / (v^(1/3) + epsilon)                           x_1: the weights before the first step
    x <- momentum x + (1 - momentum) z - learning_rate weight_decay x
    ```

    `epsilon` is outside the cube root. The learning rate is the paper's; pytorch_optimizer and optax add `epsilon` to
    it. A rate of 0 holds the weights. Weight decay is decoupled; the paper and optax add it to the gradient.

    Without momentum x_1 is not kept but worked out from x, s and v, as in pytorch_optimizer; decay then also moves x_1.

    Memory: 12 bytes per parameter, 8 without momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: Share of the way to `z` that is left, in [0, 1).
        epsilon: Added to the cube root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.MADGRAD(1e-3), loss="mse")
    ```

    References:
        Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        momentum: Hyperparameter = 0.9,
        epsilon: Hyperparameter = 1e-6,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByMadgrad(momentum, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
