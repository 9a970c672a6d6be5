"""LAMB: Adam with a step in proportion to the size of each variable."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByAdam, ScaleByLearningRate, TrustRatio


@register
class LAMB(ComposedOptimizer):
    """Adam's direction, stretched or shortened for each variable to `learning_rate` times the variable's norm.

    ```
    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    u  = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay x
    x <- x - learning_rate u |x| / |u|
    ```

    Made for batches of thousands of samples. The norms are Euclidean, one pair for each variable; where one of them is
    0, u is taken as it is. `epsilon` is outside the root and behind the bias correction, as in the paper, optax and
    Keras' Lamb. Weight decay is part of `u` and of its norm, as in the paper and optax; Keras takes it from the weights
    before the step, outside the ratio. The paper lets a function bound `|x|`; here, as in its experiments with
    networks, optax and Keras, there is no bound.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments; relative to the variable's norm.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        bias_correction: Whether to divide the averages by 1 - beta^t. Some implementations leave it out, because the
            ratio undoes most of its effect.
        scale_vectors: Whether variables of fewer than two dimensions (biases, the gains of norms) are scaled, too, as
            in the paper and optax. Many training scripts give them plain Adam: False.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    no_decay = kopt.optimizers.Group("bias$|gamma$|beta$", weight_decay=0.0)
    optimizer = kopt.optimizers.LAMB(2e-3, weight_decay=0.01, groups=[no_decay], scale_vectors=False)
    ```

    References:
        You et al. 2019, https://arxiv.org/abs/1904.00962.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-6,
        *,
        bias_correction: bool = True,
        scale_vectors: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByAdam(beta_1, beta_2, epsilon, bias_correction=bias_correction),
            AddDecayedWeights(),
            TrustRatio(scale_vectors=scale_vectors),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
