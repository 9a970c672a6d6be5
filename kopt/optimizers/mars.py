"""MARS: AdamW on gradients with reduced variance."""

from collections.abc import Sequence
from typing import Any, Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.optimizers.partition import Partition
from kopt.transforms import AddDecayedWeights, ClipByNorm, ScaleByAdam, ScaleByLearningRate, VarianceReduction


def has_matrix_shape(variables: Sequence[Any]) -> list[bool]:
    """Picks the variables of two or more dimensions, embeddings and the head among them."""
    return [len(variable.shape) >= 2 for variable in variables]


@register
class MARS(ComposedOptimizer):
    """AdamW on gradients that are corrected by their change since the last step.

    ```
    c  = g + gamma beta_1 / (1 - beta_1) (g - g_previous)
    c <- c / max(1, |c|)
    m <- beta_1 m + (1 - beta_1) c
    v <- beta_2 v + (1 - beta_2) c^2
    x <- x - learning_rate ((m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x)
    ```

    This is the paper's MARS-AdamW with approximate gradient differences: `g_previous` is the gradient of the last
    batch, not this batch's gradient at the old weights, so that a step costs one backward pass. The norm is that of
    each variable. At the first step `g_previous` is 0, as in the authors' experiments; the paper's algorithm takes
    c = g there. `epsilon` is outside the root and behind the bias correction. Weight decay is decoupled.

    Variables of fewer than two dimensions (biases, the gains of norms) get AdamW with decay rates of their own, as in
    the authors' experiments; a `Group` gives them another learning rate or weight decay.

    Memory: 12 bytes per parameter, 8 for vectors.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of corrected gradients, in [0, 1).
        beta_2: Decay rate of the average of their squares, in [0, 1).
        gamma: Strength of the correction, >= 0.
        epsilon: Added to the root, >= 0.
        vector_beta_1: `beta_1` of vectors.
        vector_beta_2: `beta_2` of vectors.
        correct_vectors: Whether vectors are treated as matrices are, without the two decay rates of their own.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.MARS(3e-3, weight_decay=0.01), loss="mse")
    ```

    References:
        Yuan et al. 2024, https://arxiv.org/abs/2411.10438.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 3e-3,
        beta_1: Hyperparameter = 0.95,
        beta_2: Hyperparameter = 0.99,
        gamma: Hyperparameter = 0.025,
        epsilon: Hyperparameter = 1e-8,
        vector_beta_1: float = 0.9,
        vector_beta_2: float = 0.95,
        *,
        correct_vectors: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        corrected = [
            VarianceReduction(gamma, beta_1),
            ClipByNorm(1.0),
            ScaleByAdam(beta_1, beta_2, epsilon),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        plain = [
            ScaleByAdam(
                checks.fraction("vector_beta_1", vector_beta_1),
                checks.fraction("vector_beta_2", vector_beta_2),
                epsilon,
            ),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        is_whole = checks.flag("correct_vectors", correct_vectors)
        recipe = corrected if is_whole else Partition(has_matrix_shape, corrected, plain)
        super().__init__(recipe, learning_rate, **keywords)
