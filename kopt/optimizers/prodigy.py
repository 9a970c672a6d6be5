"""Prodigy."""

from typing import Any, Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByProdigy


@register
class Prodigy(ComposedOptimizer):
    """Adam without a learning rate to tune: the rate is an estimate of how far away the solution is.

    ```
    step = learning_rate d                        times sqrt(1 - beta_2^t) / (1 - beta_1^t) with bias_correction
    r <- distance_beta r + (d / d0) step <g, x_0 - x>
    s <- distance_beta s + (d / d0) step g        with safeguard_warmup, d in the place of step
    m <- beta_1 m + (1 - beta_1) d g
    v <- beta_2 v + (1 - beta_2) (d g)^2
    d <- max(d, d_coef r / |s|_1)                 from d = d0
    x <- x - step (m / (sqrt(v) + d epsilon) + weight_decay x)
    ```

    Inner product and norm are over all variables together; `step` has the estimate from before the step, `epsilon` the
    new one. Leave `learning_rate` at 1, or give a schedule that starts at 1 and falls, such as
    `kopt.schedules.CosineDecay(1.0, steps)`. If the estimate (`distance`) stays small, raise `d_coef` to 2; if training
    diverges, lower it to 0.5.

    `epsilon` is outside the root, times the estimate. Weight decay is decoupled and multiplied by `step`. Bias
    correction is off, as in the authors' code; optax always corrects. With `growth_rate` the largest estimate so far is
    kept apart, and `d` follows it; optax has no such limit. The authors' names: `beta3` is `distance_beta`,
    `use_bias_correction` is `bias_correction`, an infinite `growth_rate` is None.

    A group's factor scales the steps of its variables; the estimate counts all variables that are trained, each with
    the optimizer's own rate. Frozen variables count in no sum: freeze what must not move, instead of a factor of 0.
    bfloat16 and float16 weights round steps below their last digit away, and the estimate cannot grow from what did
    not move: begin with `d0=1e-3` there, or train in mixed precision, whose weights are float32.

    Memory: 16 bytes per parameter, and two numbers, three with `growth_rate`. Beside Adam's work there are two sums
    over all weights.

    Args:
        learning_rate: A factor on the estimate: a number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        distance_beta: Decay rate of the sums `r` and `s`, in [0, 1); None for the root of `beta_2`.
        epsilon: Added to the root, times the estimate, >= 0.
        d0: The first estimate, > 0; too small costs a few steps, too large may diverge.
        d_coef: Factor on the estimate, > 0.
        growth_rate: Largest factor from one step's estimate to the next, >= 1; the first growth is not limited. None
            for no limit; 1.02 is a kind of warm-up.
        safeguard_warmup: Whether to leave the learning rate out of `s`, so that a warm-up cannot inflate the estimate.
        bias_correction: Whether steps have Adam's factor sqrt(1 - beta_2^t) / (1 - beta_1^t).
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    schedule = kopt.schedules.CosineDecay(1.0, decay_steps=10_000)
    model.compile(optimizer=kopt.optimizers.Prodigy(schedule, weight_decay=0.01), loss="mse")
    model.fit(x, y, callbacks=[kopt.callbacks.TensorBoard("logs/prodigy")])  # logs estimates/distance
    ```

    References:
        Mishchenko and Defazio 2023, https://arxiv.org/abs/2306.06101.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        distance_beta: float | None = None,
        epsilon: Hyperparameter = 1e-8,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float | None = None,
        *,
        safeguard_warmup: bool = False,
        bias_correction: bool = False,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByProdigy(
                beta_1,
                beta_2,
                distance_beta,
                epsilon,
                d0,
                d_coef,
                growth_rate,
                safeguard_warmup=safeguard_warmup,
                bias_correction=bias_correction,
            ),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)

    @property
    def distance(self) -> Any:
        """The estimated distance to the solution, as a 0-d tensor; None before the optimizer is built."""
        return self.estimates.get("distance")
