"""Adafactor: a second moment that takes hardly any memory, and steps relative to the size of the weights."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import (
    AddDecayedWeights,
    ClipByRms,
    Momentum,
    RelativeStep,
    Scale,
    ScaleByFactoredRms,
    ScaleByLearningRate,
    ScaleByParameterRms,
)


@register
class Adafactor(ComposedOptimizer):
    """Divides gradients by the root of their mean square, of which it keeps row and column means only.

    ```
    b  = 1 - t^beta_2_decay
    r <- b r + (1 - b) row_mean(g^2 + epsilon_1)
    c <- b c + (1 - b) column_mean(g^2 + epsilon_1)
    u  = g / sqrt(r c / mean(r))
    u <- u / max(1, rms(u) / clip_threshold)
    u <- u max(epsilon_2, rms(x))                                   scale_parameter
    m <- beta_1 m + (1 - beta_1) min(1, 1 / (rate sqrt(t))) u       min(...) with relative_step only
    x <- x - rate (m + weight_decay x)                              rate = learning_rate
    ```

    With `relative_step` the rate of a step is min(learning_rate, 1 / sqrt(t)); the paper has 0.01 for the learning rate
    there. Keras takes that minimum whatever its `relative_step` says, torch always, optax never. Variables of fewer
    than two dimensions keep the mean square itself. `epsilon_1` is added to the squares, as in the paper, Keras and
    optax; torch bounds the mean square from below. Weight decay is decoupled and multiplied by the learning rate, as in
    torch and Keras; optax leaves the rate out.

    Kernels of more than two dimensions are taken for the matrix (inputs, outputs) that their layer multiplies by: see
    `ScaleByFactoredRms`. Keras, torch and optax take two of the axes.

    Memory: 0 bytes per parameter: 4 for each row and column of a matrix, 4 for each element of a vector. With `beta_1`,
    4 bytes per parameter more.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_2_decay: Exponent of the decay rate, < 0.
        epsilon_1: Added to the squared gradients, >= 0.
        epsilon_2: The least size that a variable counts as, >= 0.
        clip_threshold: Largest root mean square of the direction, > 0; None for no clipping.
        beta_1: Decay rate of the average of the updates, in [0, 1); 0 keeps none. The average is not corrected for its
            start at 0.
        relative_step: Whether the learning rate falls as 1 / sqrt(t) once it is above that.
        scale_parameter: Whether steps are in proportion to the root mean square of each variable. Without it (and
            without `relative_step`) learning rates are like Adam's.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Adafactor(1e-2), loss="mse")
    model.compile(optimizer=kopt.optimizers.Adafactor(1e-3, relative_step=False, scale_parameter=False), loss="mse")
    ```

    References:
        Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float | None = 1.0,
        beta_1: float = 0.0,
        *,
        relative_step: bool = True,
        scale_parameter: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        exponent = checks.negative("beta_2_decay", beta_2_decay)
        least = ScaleByParameterRms(checks.non_negative("epsilon_2", epsilon_2))
        limit = checks.optional(checks.positive, "clip_threshold", clip_threshold)
        kept = checks.fraction("beta_1", beta_1)
        recipe = [
            ScaleByFactoredRms(epsilon=checks.non_negative("epsilon_1", epsilon_1), beta_2_decay=exponent),
            *([ClipByRms(limit)] if limit else []),
            *([least] if checks.flag("scale_parameter", scale_parameter) else []),
            *([RelativeStep()] if checks.flag("relative_step", relative_step) else []),
            *([Momentum(kept), Scale(1 - kept)] if kept else []),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
