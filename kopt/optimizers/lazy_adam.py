"""Adam that touches only the rows that a batch has seen."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.optimizers.partition import Match, Partition, lazy_rule
from kopt.transforms import AddDecayedWeights, ScaleByAdam, ScaleByLearningRate, SeenRows


@register
class LazyAdam(ComposedOptimizer):
    """Adam for embeddings: rows without a gradient keep weights and state, and do not decay.

    ```
    for each row of an embedding with an entry of g that is not 0, and all of the other variables:
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    Plain Adam goes on moving a row long after a batch has last seen it, along an average of old gradients. Here a row
    moves when it is seen. `t` counts the optimizer's steps, not those of the row, as in torch's `SparseAdam`.

    A row counts as seen when its gradient has an entry that is not 0, on each backend, whether the gradient of the
    embedding is sparse (TensorFlow) or dense (JAX, PyTorch). A transform in `before` that fills rows of zeros makes
    them seen. All rows are read at each step: what is lazy is the result, it saves no time.

    `epsilon` is outside the root and behind the bias correction, as in `Adam`. Weight decay is decoupled.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        lazy: Which variables are updated by rows: a regular expression searched in the variables' paths, or a callable
            `variable -> bool`. By default those of two or more dimensions with `embed` in their path.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range, or (at build) `lazy` picks a vector.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.LazyAdam(1e-3), loss="mse")
    ```

    References:
        Kingma and Ba 2014, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        *,
        lazy: Match | None = None,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = Partition(
            lazy_rule(lazy),
            chosen=[
                SeenRows(ScaleByAdam(beta_1, beta_2, epsilon)),
                SeenRows(AddDecayedWeights()),
                ScaleByLearningRate(),
            ],
            rest=[ScaleByAdam(beta_1, beta_2, epsilon), AddDecayedWeights(), ScaleByLearningRate()],
        )
        super().__init__(recipe, learning_rate, **keywords)
