"""Gradient descent without a schedule: the weights to evaluate with are an average over the run."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScheduleFree


@register
class ScheduleFreeSGD(ComposedOptimizer):
    """Gradient descent with an average of all iterates in place of momentum and of a decay of the learning rate.

    ```
    w  = t^step_power (largest learning rate so far)^weight_power
    c  = w / (sum of all w so far)
    z <- z - learning_rate (g + weight_decay y)                 g: the gradient at y
    x <- (1 - c) x + c z                                        the weights to evaluate with
    y  = (1 - momentum) z + momentum x                          the weights to train with
    ```

    During `fit` the model holds y; when `fit` ends, it holds x. `kopt.callbacks.AveragedWeights` puts x there for
    validation and checkpoints as well: see `ScheduleFreeAdamW` for this, and for schedules, groups and `bfloat16`.

    Weight decay takes a share of y, as in the authors' code and optax. optax delays the rate of `warmup_steps` by one
    step against its weights; we and the authors do not.

    Memory: 4 bytes per parameter, 4 more per variable.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments. The best constant is often 10 times
            that of SGD or more.
        momentum: Share of the average in y, in (0, 1).
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
    model.compile(optimizer=kopt.optimizers.ScheduleFreeSGD(1.0, warmup_steps=500), loss="mse")
    ```

    References:
        Defazio et al. 2024, https://arxiv.org/abs/2405.15682.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        momentum: float = 0.9,
        warmup_steps: int = 0,
        *,
        weight_power: float = 2.0,
        step_power: float = 0.0,
        **keywords: Unpack[Keywords],
    ) -> None:
        if not checks.fraction("momentum", momentum):
            raise checks.fail("momentum", "> 0 here", momentum, "x is found from y, which would hold nothing of it.")
        recipe = [
            AddDecayedWeights(),
            ScaleByLearningRate(),
            ScheduleFree(momentum, warmup_steps, weight_power=weight_power, step_power=step_power),
        ]
        super().__init__(recipe, learning_rate, **keywords)
