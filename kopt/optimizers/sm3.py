"""SM3."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, Scale, ScaleByLearningRate, ScaleBySm3


@register
class SM3(ComposedOptimizer):
    """Adagrad with one accumulator for each index of each axis: a matrix keeps a number per row and one per column.

    ```
    n    = min over the axes a of c_a(index of the element along a) + g^2
    c_a <- for each index along a, the maximum of n over all other axes
    m   <- momentum m + (1 - momentum) g / sqrt(n + epsilon)
    x   <- x - learning_rate (m + weight_decay x)
    ```

    This is SM3-II with momentum, as in the paper and optax. `epsilon` is inside the root, and small enough to stand for
    the paper's rule that 0 / 0 is 0; optax' is 1e-8. A tensor of any rank has one vector per axis; for vectors and
    scalars this is Adagrad. Weight decay is decoupled; the paper has none.

    Memory: 4 bytes per parameter for the momentum, 0 without it; the accumulators are (rows + columns) * 4 bytes.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        momentum: Decay rate of the average of directions, in [0, 1); 0 keeps none.
        epsilon: Added under the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.SM3(0.1), loss="mse")
    ```

    References:
        Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.1,
        momentum: float = 0.9,
        epsilon: Hyperparameter = 1e-30,
        **keywords: Unpack[Keywords],
    ) -> None:
        average = [Momentum(momentum), Scale(1 - momentum)] if checks.fraction("momentum", momentum) else []
        recipe = [ScaleBySm3(epsilon), *average, AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
