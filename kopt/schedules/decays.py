"""Schedules that start at a learning rate and go down from it, or stay."""

import math
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt._core.numerics import one_minus_power
from kopt.schedules.curves import half_cosine, kept, periods_done, periods_passed, share_left
from kopt.schedules.length import By
from kopt.schedules.schedule import Schedule


@register
class Constant(Schedule):
    """The same learning rate at every step.

    Args:
        learning_rate: >= 0.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = checks.non_negative("learning_rate", learning_rate)

    def value(self, step: Any) -> Any:
        return ops.full_like(step, self.learning_rate)


@register
class StepDecay(Schedule):
    """Multiplies the rate by `decay_rate` every `decay_steps` steps: a * gamma^floor(t / s).

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: s, an integer >= 1, or a fraction of the run.
        decay_rate: gamma, > 0.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float = 0.1, *, by: By = "step"
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.decay_rate = checks.positive("decay_rate", decay_rate)

    def value(self, step: Any) -> Any:
        return self.initial_learning_rate * ops.power(
            self.decay_rate, periods_done(step, self.in_steps(self.decay_steps))
        )


@register
class ExponentialDecay(Schedule):
    """Multiplies the rate by `decay_rate` per `decay_steps` steps, evenly: a * gamma^(t / s).

    For decay per epoch, as the formula is often written, give the steps of an epoch as `decay_steps`; with
    `staircase=True` the rate then changes between epochs only.

    Args:
        initial_learning_rate: a, >= 0.
        decay_rate: gamma, > 0.
        decay_steps: s, an integer >= 1, or a fraction of the run. The default 1 is one step, or the whole run.
        staircase: Whether to round t / s down, which makes it a `StepDecay`.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_rate: float,
        decay_steps: float = 1,
        *,
        staircase: bool = False,
        by: By = "step",
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.decay_rate = checks.positive("decay_rate", decay_rate)
        self.staircase = checks.flag("staircase", staircase)

    def value(self, step: Any) -> Any:
        periods = periods_passed(step, self.in_steps(self.decay_steps), staircase=self.staircase)
        # exp(t log gamma) with the logarithm in float64: float32 powers of 0.999 drift by 1e-5 per 1,000 steps.
        return self.initial_learning_rate * ops.exp(periods * math.log(self.decay_rate))


@register
class CosineDecay(Schedule):
    """Falls along half a cosine: a ((1 - alpha) (1 + cos(pi t / T)) / 2 + alpha), and stays at a * alpha after T.

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: T, an integer >= 1, or a fraction of the run.
        alpha: Share of the rate that is left at the end, in [0, 1].
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, *, by: By = "step"
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.alpha = checks.fraction("alpha", alpha, one=True)

    def value(self, step: Any) -> Any:
        left = share_left(step, 0, self.in_steps(self.decay_steps))
        return self.initial_learning_rate * kept(half_cosine(left), self.alpha)


@register
class AdamStepSize(Schedule):
    """Adam's effective step size: a sqrt(1 - beta_2^t) / (1 - beta_1^t), with t = step + 1.

    Gives an optimizer without bias correction, such as RMSprop with momentum, the warm-up that Adam's correction
    amounts to. `Adam(bias_correction=False)` with it equals Adam up to the place of epsilon.

    Args:
        initial_learning_rate: a, >= 0.
        beta_1: In [0, 1).
        beta_2: In [0, 1).

    Raises:
        ValueError: An argument is out of its range.

    References:
        Kingma and Ba 2014, section 2, https://arxiv.org/abs/1412.6980.
    """

    def __init__(self, initial_learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999) -> None:
        self.initial_learning_rate = checks.non_negative("initial_learning_rate", initial_learning_rate)
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)

    def value(self, step: Any) -> Any:
        t = step + 1.0
        return self.initial_learning_rate * ops.sqrt(one_minus_power(self.beta_2, t)) / one_minus_power(self.beta_1, t)
