"""Gradient descent with decoupled weight decay."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import KeywordsWithoutDecay, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate


@register
class SGDW(ComposedOptimizer):
    """Gradient descent with momentum, and weights that shrink by `learning_rate * weight_decay` a step.

    ```
    m <- momentum m + g
    x <- x - learning_rate (m + weight_decay x)                       momentum
    x <- x - learning_rate (g + momentum m + weight_decay x)          Nesterov
    ```

    The decay is multiplied by the learning rate, as in AdamW and in `weight_decay` of Keras' `SGD`. The paper
    multiplies it by the schedule's factor alone, and TensorFlow Addons' `SGDW` by nothing at all: divide a decay that
    was tuned there by the learning rate. torch's `SGD` adds the decay to the gradient, and so to the momentum.

    Default decay: 0.005 shrinks weights as fast as the usual 5e-4 does in torch with the default momentum, which
    multiplies its pull by 1 / (1 - 0.9).

    The learning rate stands outside the momentum buffer, as in torch and optax; Keras keeps it inside. Both agree while
    the rate is constant.

    Memory: 4 bytes per parameter, 0 without momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: In [0, 1); 0 keeps no buffer.
        weight_decay: Share of each weight that goes per step and unit of learning rate, >= 0. `groups` and
            `exclude_from_weight_decay` say which variables have another one or none.
        nesterov: Whether to look one step ahead; needs momentum.
        **keywords: `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.SGDW(0.1, momentum=0.9, weight_decay=0.005), loss="mse")
    ```

    References:
        Loshchilov and Hutter 2017, algorithm 1, https://arxiv.org/abs/1711.05101.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: Hyperparameter = 0.9,
        weight_decay: Hyperparameter = 0.005,
        *,
        nesterov: bool = False,
        **keywords: Unpack[KeywordsWithoutDecay],
    ) -> None:
        trace = Momentum(momentum, nesterov=nesterov)
        if nesterov and not momentum:
            raise ValueError(f"`nesterov=True` needs `momentum` > 0. Received: momentum={momentum!r}.")
        recipe = [*([trace] if momentum else []), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, weight_decay=weight_decay, **keywords)
