"""DoWG: distance over weighted gradients."""

from typing import Any, Unpack

from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByDowg, ScaleByLearningRate


@register
class DoWG(ComposedOptimizer):
    """`DoG` with gradients that count the more, the farther from the start they were seen.

    ```
    d <- max(d, |x - x_0|)                        from d = d0
    v <- v + d^2 |g|^2
    x <- x - learning_rate d^2 / (sqrt(v) + epsilon) (g + weight_decay x)
    ```

    Norms are over all variables together. Leave `learning_rate` at 1. While `sqrt(v)` is below `epsilon`, `epsilon`
    keeps steps short: with small gradients, make it smaller.

    `epsilon` is outside the root, as in the authors' code and optax; the paper has none. Theirs is also the first
    squared distance: that is `d0` squared here. Weight decay is decoupled from `v` and shares the whole rate; optax
    adds it to the gradient in front, which is `before=[AddDecayedWeights(0.1)]` here.

    A group's factor scales the steps of its variables; the sums count all variables that are trained. Frozen
    variables count in none.

    Memory: 4 bytes per parameter, and two numbers.

    Args:
        learning_rate: A factor on the rate: a number >= 0, a schedule, or a callable without arguments.
        d0: The first distance, > 0; too small costs a few steps, too large may diverge.
        epsilon: Added to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.DoWG(), loss="mse")
    ```

    References:
        Khaled et al. 2023, https://arxiv.org/abs/2305.16284.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        d0: float = 1e-2,
        epsilon: float = 1e-4,
        **keywords: Unpack[Keywords],
    ) -> None:
        super().__init__(
            [ScaleByDowg(d0, epsilon), AddDecayedWeights(), ScaleByLearningRate()], learning_rate, **keywords
        )

    @property
    def distance(self) -> Any:
        """The largest distance from the start, at least `d0`, as a 0-d tensor; None before the optimizer is built."""
        return self.estimates.get("distance")
