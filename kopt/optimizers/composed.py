"""An optimizer of the user's own: a list of transforms."""

from collections.abc import Sequence
from typing import Unpack

from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import Transform


@register
class Composed(ComposedOptimizer):
    """An optimizer of your own: a list of transforms, driven as the named optimizers are.

    ```python
    kopt.optimizers.Composed(
        [kopt.transforms.ScaleByAdam(0.9, 0.95), kopt.transforms.ClipByNorm(1.0)],
        learning_rate=1e-3, weight_decay=0.1,
    )
    ```

    Args:
        transforms: In order; the first gets the gradient, what leaves the last is subtracted from the weights. Weight
            decay and learning rate are added at the end, or before the first that acts on the step, unless
            `ScaleByLearningRate` is in the list.
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        **keywords: Those of every optimizer: see `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.
    """

    def __init__(
        self, transforms: Sequence[Transform], learning_rate: LearningRate = 1e-3, **keywords: Unpack[Keywords]
    ) -> None:
        super().__init__(transforms, learning_rate, **keywords)
