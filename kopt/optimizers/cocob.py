"""COCOB: coin betting."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByCocob, ScaleByLearningRate


@register
class COCOB(ComposedOptimizer):
    """Each weight is a gambler's stake on the sign of its next gradient; there is no rate and no estimate to tune.

    ```
    g <- g + weight_decay x
    L <- max(L, |g|, epsilon)                     largest gradient
    S <- S + |g|                                  sum of their sizes
    R <- max(R - g (x - x_0), 0)                  reward
    C <- C - g                                    the way down
    x <- x - learning_rate (x - x_0 - C (L + R) / (L max(S + L, bet_divisor L)))
    ```

    Everything is by element. At `learning_rate=1` the weight is where the bet says; below, it goes that part of the way
    (in optax the rate scales the gradient, which changes next to nothing). `epsilon` stands for the paper's L = 0 at
    the start, as in optax. Weight decay is added to the gradient, as in optax: the next bet would give back what a
    decoupled decay takes.

    Memory: 20 bytes per parameter.

    Args:
        learning_rate: A factor on the step: a number >= 0, a schedule, or a callable without arguments.
        bet_divisor: The paper's alpha, > 0: the first bets are at most one part in so many of the wealth.
        epsilon: The smallest bound on a gradient, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.COCOB(), loss="mse")
    ```

    References:
        Orabona and Tommasi 2017, algorithm 2, https://arxiv.org/abs/1705.07795.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        bet_divisor: Hyperparameter = 100.0,
        epsilon: float = 1e-8,
        **keywords: Unpack[Keywords],
    ) -> None:
        super().__init__(
            [AddDecayedWeights(), ScaleByCocob(bet_divisor, epsilon), ScaleByLearningRate()], learning_rate, **keywords
        )
