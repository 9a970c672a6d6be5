"""Adam with D-Adaptation."""

from typing import Any, Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByDadaptAdam, ScaleByLearningRate


@register
class DAdaptAdam(ComposedOptimizer):
    """Adam without a learning rate to tune: the rate is an estimate of how far away the solution is.

    With c = sqrt(beta_2), and p = d, times sqrt(1 - beta_2^t) / (1 - beta_1^t) with bias_correction:

    ```
    r <- c r + (1 - c) learning_rate p <g, s / (sqrt(v) + epsilon)>
    s <- c s + (1 - c) learning_rate p g
    m <- beta_1 m + (1 - beta_1) p g
    v <- beta_2 v + (1 - beta_2) g^2
    d <- max(d, min(r / ((1 - c) |s|_1), growth_rate d))                 from d = d0
    x <- x - learning_rate (m / (sqrt(v) + epsilon) + weight_decay p x)
    ```

    Inner product and norm are over all variables together; `p` has the estimate from before the step. Leave
    `learning_rate` at 1, or give a schedule that starts at 1 and falls. `Prodigy` is by the same authors, later, and
    its estimate grows faster.

    `epsilon` is outside the root. Weight decay is decoupled, and multiplied by `p` and by the learning rate. The
    learning rate stands outside the average `m`, so that a new rate acts at once; the authors and optax keep it inside,
    and agree with ours while the rate is constant. Bias correction is off, as in the authors' code; optax always
    corrects. An infinite `growth_rate` of theirs is None here.

    A group's factor scales the steps of its variables; the estimate counts all variables that are trained, each with
    the optimizer's own rate. Frozen variables count in no sum: freeze what must not move, instead of a factor of 0.

    Memory: 12 bytes per parameter, and two numbers. Beside Adam's work there are two sums over all weights.

    Args:
        learning_rate: A factor on the estimate: a number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        d0: The first estimate, > 0; too small costs a few steps, too large may diverge.
        growth_rate: Largest factor from one step's estimate to the next, >= 1; None for no limit; 1.02 is a kind of
            warm-up.
        bias_correction: Whether steps have Adam's factor sqrt(1 - beta_2^t) / (1 - beta_1^t).
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.DAdaptAdam(), loss="mse")
    ```

    References:
        Defazio and Mishchenko 2023, algorithm 5, https://arxiv.org/abs/2301.07733.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        d0: float = 1e-6,
        growth_rate: float | None = None,
        *,
        bias_correction: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByDadaptAdam(beta_1, beta_2, epsilon, d0, growth_rate, bias_correction=bias_correction),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)

    @property
    def distance(self) -> Any:
        """The estimated distance to the solution, as a 0-d tensor; None before the optimizer is built."""
        return self.estimates.get("distance")
