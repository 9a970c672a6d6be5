"""CAME: Adafactor with a momentum that is trusted where it is steady."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ClipByRms, ScaleByConfidence, ScaleByFactoredRms, ScaleByLearningRate


@register
class CAME(ComposedOptimizer):
    """Averages Adafactor's updates, and divides the average by how far the updates stray from it.

    ```
    r, c <- row and column means of g^2 + epsilon_1, averaged with beta_2
    u  = g / sqrt(r c / mean(r))
    u <- u / max(1, rms(u) / clip_threshold)
    m <- beta_1 m + (1 - beta_1) u
    p, q <- row and column means of (u - m)^2 + epsilon_2, averaged with beta_3
    x <- x - learning_rate (m / sqrt(p q / mean(p)) + weight_decay x)
    ```

    Variables of fewer than two dimensions keep the mean square of g itself and step by `m`. Both epsilons are added to
    squares. No average is corrected for its start at 0: while beta_3^t is near 1, steps are up to
    1 / sqrt(1 - beta_3) times as long as later, so that the learning rate is small, and a warm-up helps. Weight decay
    is decoupled. Kernels of more than two dimensions are taken for the matrix (inputs, outputs) that their layer
    multiplies by: see `ScaleByFactoredRms`; the authors' experiments take the last two axes.

    Memory: 4 bytes per parameter, and 8 for each row and column of a matrix; 8 for each element of a vector.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of updates, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        beta_3: Decay rate of the average of squared distances of updates from their average, in [0, 1).
        epsilon_1: Added to the squared gradients, >= 0.
        epsilon_2: Added to the squared distances, >= 0.
        clip_threshold: Largest root mean square of an update before it is averaged, > 0; None for no clipping.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    schedule = kopt.schedules.Warmup(kopt.schedules.CosineDecay(2e-4, decay_steps=10_000), steps=500)
    model.compile(optimizer=kopt.optimizers.CAME(schedule, weight_decay=0.01), loss="mse")
    ```

    References:
        Luo et al. 2023, https://arxiv.org/abs/2307.02047.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 2e-4,
        beta_1: Hyperparameter = 0.9,
        beta_2: float = 0.999,
        beta_3: Hyperparameter = 0.9999,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-16,
        clip_threshold: float | None = 1.0,
        **keywords: Unpack[Keywords],
    ) -> None:
        limit = checks.optional(checks.positive, "clip_threshold", clip_threshold)
        recipe = [
            ScaleByFactoredRms(beta_2, checks.non_negative("epsilon_1", epsilon_1)),
            *([ClipByRms(limit)] if limit else []),
            ScaleByConfidence(beta_1, beta_3, checks.non_negative("epsilon_2", epsilon_2)),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
