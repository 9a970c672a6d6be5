"""AdamW without a schedule: the weights to evaluate with are an average over the run."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByRms, ScheduleFree


@register
class ScheduleFreeAdamW(ComposedOptimizer):
    """Adam whose momentum is replaced by an average of all iterates, so that no decay of the learning rate is needed.

    ```
    w  = t^step_power (largest learning rate so far)^weight_power
    c  = w / (sum of all w so far)
    v <- beta_2 v + (1 - beta_2) g^2                            g: the gradient at y
    z <- z - learning_rate (g / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay y)
    x <- (1 - c) x + c z                                        the weights to evaluate with
    y  = (1 - beta_1) z + beta_1 x                              the weights to train with
    ```

    During `fit` the model holds y, and metrics of training batches are those of y. When `fit` ends, the model holds x
    (Keras' `ScheduleFreeAdamW` leaves y there); `kopt.callbacks.AveragedWeights` puts x there for validation and
    checkpoints as well. `optimizer.to_average()` and `from_average()` do it by hand. The first step after that finds
    the way back to y by itself, but its gradient is the one at x; the callback goes back to y before.

    `epsilon` is outside the root and behind the bias correction. Weight decay is decoupled and takes a share of y, as
    in the authors' code and optax. `learning_rate` may be a schedule: the weights w follow it (Keras averages with
    weights 1 / t whatever the rate). optax delays the rate of `warmup_steps` by one step against its weights; we and
    the authors do not. Where a group has a factor on the rate, w is that of the whole optimizer. In a `bfloat16`
    variable y is rounded, and x with it: use `mixed_bfloat16`, whose variables are float32.

    Memory: 8 bytes per parameter, 4 more per variable.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments. The best constant is 1 to 10 times
            that of AdamW with a schedule.
        beta_1: Share of the average in y, in (0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        warmup_steps: Over how many steps the learning rate grows linearly, >= 0.
        weight_power: Power of the largest learning rate in the weight of a step, >= 0.
        step_power: Power of the step number in that weight, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, accumulation and `name`: see
            `ComposedOptimizer`. `use_ema` would average y and put that into the model; it warns.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.ScheduleFreeAdamW(2.5e-3, warmup_steps=500), loss="mse")
    model.fit(x, y, validation_data=(x_val, y_val), callbacks=[kopt.callbacks.AveragedWeights()])
    ```

    References:
        Defazio et al. 2024, https://arxiv.org/abs/2405.15682.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: Hyperparameter = 1e-8,
        warmup_steps: int = 0,
        *,
        weight_power: float = 2.0,
        step_power: float = 0.0,
        **keywords: Unpack[Keywords],
    ) -> None:
        if not checks.fraction("beta_1", beta_1):
            raise checks.fail("beta_1", "> 0 here", beta_1, "x is found from y, which would hold nothing of it.")
        recipe = [
            ScaleByRms(checks.fraction("beta_2", beta_2), epsilon, epsilon_outside=True, bias_correction=True),
            AddDecayedWeights(),
            ScaleByLearningRate(),
            ScheduleFree(beta_1, warmup_steps, weight_power=weight_power, step_power=step_power),
        ]
        super().__init__(recipe, learning_rate, **keywords)
